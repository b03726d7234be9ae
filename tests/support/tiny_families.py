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

"""A tiny random model of every LMM family: real classes, real image processors, own tokenizer.

`build(family, directory)` writes it as a user's model would lie there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tiny_model import tiny_llava, word_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers.models.deepseek_vl.image_processing_pil_deepseek_vl import (
    DeepseekVLImageProcessorPil,
)
from transformers.models.deepseek_vl_hybrid.image_processing_pil_deepseek_vl_hybrid import (
    DeepseekVLHybridImageProcessorPil,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from flmm_ros.engine.config import ModelConfig

WORDS = [
    "user",
    ":",
    "assistant",
    ".",
    ",",
    "?",
    "red",
    "blue",
    "mug",
    "cube",
    "the",
    "a",
    "what",
    "is",
    "there",
]
MARKERS = (
    "<pad>",
    "<s>",
    "</s>",
    "<unk>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)
IMAGE_ID = MARKERS.index("<image>")
VOCABULARY = len(MARKERS) + len(WORDS) + 1
TEMPLATE = "user : <image> {text} assistant :"
SIDE, PATCH = 56, 14
Made = tuple[hf.PreTrainedModel, Any]


def tokenizer() -> hf.PreTrainedTokenizerFast:
    """One token a word, one for a line break, special tokens for everything around images."""
    words = {w: i for i, w in enumerate([*MARKERS, *WORDS, "\n"])}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Split(" ", "removed"),
            pre_tokenizers.Punctuation(),
        ]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=list(MARKERS[4:]),
    )


def _text(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 8192,
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        **more,
    }


def _vision(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
        **more,
    }


def _llava_next() -> Made:
    tiles = [[SIDE * a, SIDE * b] for a, b in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**_vision(projection_dim=16)),
        text_config=hf.MistralConfig(**_text(sliding_window=None)),
        image_token_id=IMAGE_ID,
        image_grid_pinpoints=tiles,
        vision_feature_layer=-2,
    )
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_grid_pinpoints=tiles,
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def _llava_onevision() -> Made:
    tiles = [[SIDE * a, SIDE * b] for a in range(1, 5) for b in range(1, 5)]
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**_vision(), vision_use_head=False),
        text_config=hf.Qwen2Config(**_text()),
        image_token_id=IMAGE_ID,
        video_token_id=3,
        image_grid_pinpoints=tiles,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_4",  # small enough that the grid is shrunk now and then
    )
    processor = LlavaOnevisionImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=tiles
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def _deepseek_vl() -> Made:
    config = hf.DeepseekVLConfig(
        vision_config=hf.SiglipVisionConfig(**_vision(), vision_use_head=False),
        text_config=hf.LlamaConfig(**_text()),
        image_token_id=IMAGE_ID,
    )
    processor = DeepseekVLImageProcessorPil(size={"height": SIDE, "width": SIDE}, min_size=4)
    return hf.DeepseekVLForConditionalGeneration(config), processor


def _deepseek_vl_hybrid() -> Made:
    high = hf.SamVisionConfig(
        hidden_size=16,
        output_channels=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=256,
        patch_size=16,
        window_size=4,
        global_attn_indexes=[1],
        mlp_dim=24,
        num_pos_feats=4,
    )
    config = hf.DeepseekVLHybridConfig(
        vision_config=hf.SiglipVisionConfig(**_vision(), vision_use_head=False),
        high_res_vision_config=high,
        text_config=hf.LlamaConfig(**_text()),
        image_token_id=IMAGE_ID,
    )
    processor = DeepseekVLHybridImageProcessorPil(
        size={"height": SIDE, "width": SIDE},
        high_res_size={"height": 256, "width": 256},
        min_size=4,
    )
    return hf.DeepseekVLHybridForConditionalGeneration(config), processor


def _rope() -> dict[str, Any]:
    return {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}


def _qwen2_5_vl() -> Made:
    vision = {
        "depth": 2,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": PATCH,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    config = hf.Qwen2_5_VLConfig(
        vision_config=vision,
        text_config=_text(rope_parameters=_rope()),
        image_token_id=IMAGE_ID,
        video_token_id=5,
    )
    size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 60}
    processor = Qwen2VLImageProcessorPil(size=size, patch_size=PATCH)
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl() -> Made:
    vision = {
        "depth": 3,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_heads": 2,
        "out_hidden_size": 32,
        "patch_size": 16,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }
    config = hf.Qwen3VLConfig(
        vision_config=vision,
        text_config=_text(head_dim=8, rope_parameters=_rope()),
        image_token_id=IMAGE_ID,
        video_token_id=5,
    )
    size = {"shortest_edge": 64 * 64, "longest_edge": 32 * 32 * 60}
    processor = Qwen2VLImageProcessorPil(size=size, patch_size=16)
    return hf.Qwen3VLForConditionalGeneration(config), processor


def _internvl() -> Made:
    vision = hf.InternVLVisionConfig(
        **_vision(image_size=[SIDE, SIDE], patch_size=[PATCH, PATCH]),
    )
    config = hf.InternVLConfig(
        vision_config=vision,
        text_config=hf.Qwen2Config(**_text()),
        image_token_id=IMAGE_ID,
        image_seq_length=4,
    )
    processor = GotOcr2ImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, min_patches=1, max_patches=6
    )
    return hf.InternVLForConditionalGeneration(config), processor


def _idefics3_like(
    config_class: Any, vision_class: Any, model_class: Any, processor_class: Any
) -> Made:
    config = config_class(
        vision_config=vision_class(**_vision()),
        text_config=hf.LlamaConfig(**_text()),
        image_token_id=IMAGE_ID,
        scale_factor=2,
    )
    processor = processor_class(
        size={"longest_edge": 3 * SIDE}, max_image_size={"longest_edge": SIDE}
    )
    return model_class(config), processor


def _idefics3() -> Made:
    return _idefics3_like(
        hf.Idefics3Config,
        hf.models.idefics3.configuration_idefics3.Idefics3VisionConfig,
        hf.Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
    )


def _smolvlm() -> Made:
    return _idefics3_like(
        hf.SmolVLMConfig,
        hf.models.smolvlm.configuration_smolvlm.SmolVLMVisionConfig,
        hf.SmolVLMForConditionalGeneration,
        SmolVLMImageProcessorPil,
    )


def _gemma3() -> Made:
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(**_vision(image_size=84), vision_use_head=False),
        text_config=hf.Gemma3TextConfig(
            **_text(
                head_dim=8,
                sliding_window=6,  # smaller than the image: most of it is out of sight
                layer_types=["sliding_attention", "full_attention"],
                query_pre_attn_scalar=8,
            )
        ),
        image_token_id=IMAGE_ID,
        mm_tokens_per_image=9,
    )
    processor = Gemma3ImageProcessorPil(size={"height": 84, "width": 84})
    model = hf.Gemma3ForConditionalGeneration(config)
    # Zero unless it was trained: an untrained model would see nothing.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    return model, processor


FAMILIES: dict[str, Callable[[], Made]] = {
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "deepseek_vl": _deepseek_vl,
    "deepseek_vl_hybrid": _deepseek_vl_hybrid,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "internvl": _internvl,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "gemma3": _gemma3,
}


def build(family: str, directory: Path) -> ModelConfig:
    """Writes the family's tiny model to `directory` and says how to load it."""
    torch.manual_seed(5)
    if family == "llava":
        tiny_llava(key_value_heads=2, layers=2).save_pretrained(directory)
        word_tokenizer().save_pretrained(directory)
        hf.CLIPImageProcessor(size={"shortest_edge": 84}).save_pretrained(directory)
        template = "USER: <image>\n{text} ASSISTANT:"
    else:
        model, processor = FAMILIES[family]()
        model.save_pretrained(directory)
        processor.save_pretrained(directory)
        tokenizer().save_pretrained(directory)
        template = TEMPLATE
    return ModelConfig(
        name=f"tiny {family}", family=family, lmm=str(directory), heads="none", template=template
    )
