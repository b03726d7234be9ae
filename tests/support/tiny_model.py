# Copyright 2026 flmm_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""A tiny random LLaVA, its word-level tokenizer and tiny heads: built in a second, no downloads."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from flmm_ros.engine.heads.refiner_shape import ConvEncoderShape, RefinerShape
from flmm_ros.engine.heads.trained import Heads, HeadsConfig, LmmShape

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
TEXT = (
    "user : assistant . , ? ! please give me a description of the image red blue green mug cube "
    "duck ball what is there no yes pick up can i drink from how many two"
)
WORDS = tuple(TEXT.split())
SIDE_PX, PATCH_PX = 84, 14


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; what it does not know is <unk>."""
    vocabulary = {w: i for i, w in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


def tiny_llava(key_value_heads: int = 4, layers: int = 3) -> LlavaForConditionalGeneration:
    """Random weights, 6x6 image tokens; fewer key-value heads than heads is GQA."""
    torch.manual_seed(7)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE_PX,
            patch_size=PATCH_PX,
            projection_dim=16,
        ),
        text_config=LlamaConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=key_value_heads,
            vocab_size=len(SPECIAL) + len(WORDS),
            max_position_embeddings=256,
            initializer_range=0.3,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        image_token_id=4,
        image_seq_length=36,
        vision_feature_layer=-1,
    )
    return LlavaForConditionalGeneration(config).eval()


def tiny_heads(layers: int = 3) -> Heads:
    """Random heads for `tiny_llava`."""
    torch.manual_seed(8)
    refiner = RefinerShape(
        hidden=32,
        input_size=64,
        decoder_heads=4,
        decoder_mlp=64,
        iou_hidden=32,
        encoder=ConvEncoderShape(channels=(8, 8, 16), blocks=(0, 1, 1)),
    )
    return Heads.create(
        LmmShape(layers, 4, 32), HeadsConfig(base_channels=4, upsample_to=16, refiner=refiner)
    ).eval()
