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

"""Models to measure: real classes, real shapes, random weights, and one sentence they can say.

Time and memory follow from shapes alone, so nothing has to be trained or fetched. A language model
with random weights would answer noise in which no phrase is found; here its embeddings are drawn so
large, and its vocabulary head so made, that each word of `ANSWER` is followed by the next one,
whatever the layers in between compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    MistralConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.refiner_shape import RefinerShape, SamVitShape
from flmm_ros.engine.heads.trained import Heads, HeadsConfig
from flmm_ros.engine.lmm import Lmm
from flmm_ros.engine.lmm.families.llava import Llava, PixelRule
from flmm_ros.engine.lmm.families.llava_next import LlavaNext
from flmm_ros.engine.lmm.tokens import PromptTokens

QUESTION = "what is there on the table?"
ANSWER = "a red mug on the table"  # short, as a robot's answers are; no word twice
PHRASES = (
    "the red mug",
    "the blue cube",
    "the green ball",
    "the table",
    "the red cube",
    "the blue mug",
    "the green cube",
    "the red ball",
)
PROMPT = "please give me a description of the image."
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_IMAGE_ID = _SPECIAL.index("<image>")
_SIDE, _PATCH = 336, 14
_USUAL_RANGE, _USUAL_WIDTH = 0.02, 1024  # of random weights, and the width it suits


@dataclass(frozen=True)
class VisionShape:
    """Numbers of the language model's image tower, a CLIP ViT."""

    width: int
    layers: int
    heads: int
    mlp_width: int


# On a CPU the tower is tiny: it is the same for everybody and not what is measured.
TINY_TOWER = VisionShape(64, 2, 2, 128)
_CLIP_LARGE = VisionShape(1024, 24, 16, 4096)


@dataclass(frozen=True)
class Shape:
    """Numbers of one model. `sam`: of the refiner's image encoder, the same for everybody
    compared."""

    family: str
    layers: int
    width: int
    heads: int
    key_value_heads: int
    mlp_width: int
    base_channels: int = 64
    sam_input_px: int = 1024
    sam: SamVitShape = SamVitShape(128, 4, 4, window=14, global_layers=(3,), mlp_width=512)
    vision: VisionShape = TINY_TOWER
    vocabulary: int = 1000


def _published(family: str, key_value_heads: int, mlp_width: int) -> Shape:
    """A published 7B model: text layers, vocabulary, CLIP ViT-L/14 and SAM ViT-L at full size."""
    return Shape(
        family,
        32,
        4096,
        32,
        key_value_heads,
        mlp_width,
        sam=SamVitShape(),
        vision=_CLIP_LARGE,
        vocabulary=32064,
    )


SHAPES = {
    "llava": Shape("llava", 12, 1024, 16, 16, 2816),
    "llava_next": Shape("llava_next", 12, 1024, 16, 4, 2816),  # grouped heads, as mistral's
    "llava_7b": _published("llava", 32, 11008),
    "llava_next_7b": _published("llava_next", 8, 14336),
}


def build(shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Grounder:
    """A grounder of this shape; the same weights every time.

    Weights are drawn on the device and in the format they are used in: a model of seven billion is
    there in seconds, and never twice as large on the way.
    """
    torch.manual_seed(0)
    with _made_on(device, dtype):
        lmm = _lmm(shape)
    refiner = RefinerShape(input_size=shape.sam_input_px, encoder=shape.sam)
    with _made_on(device, torch.float32):
        heads = Heads(lmm.shape, HeadsConfig(base_channels=shape.base_channels, refiner=refiner))
    config = GrounderConfig(model="bench", device=device, scene_cache=2)
    return Grounder(config, lmm.config, lmm, heads.to(device).eval().requires_grad_(False))


@contextmanager
def _made_on(device: str, dtype: torch.dtype) -> Iterator[None]:
    """New weights appear on this device, in this format."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _lmm(shape: Shape) -> Lmm:
    config = ModelConfig(
        name="bench", family=shape.family, lmm="random", heads="random", prompt=PROMPT
    )
    tokenizer = _tokenizer()
    tokens = PromptTokens(tokenizer, config.template, _IMAGE_ID)
    text, vision = _text_arguments(shape), _vision_config(shape.vision)
    if shape.family == "llava":
        llava = LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=vision, text_config=LlamaConfig(**text), image_token_id=_IMAGE_ID
            )
        )
        _teach(llava, tokenizer)
        rule = PixelRule((0.48, 0.46, 0.41), (0.27, 0.26, 0.28), 1 / 255)
        return Llava(llava, tokens, config, rule)
    tiles = [[_SIDE * a, _SIDE * b] for a, b in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
    llava_next = LlavaNextForConditionalGeneration(
        LlavaNextConfig(
            vision_config=vision,
            text_config=MistralConfig(**text, sliding_window=None),
            image_token_id=_IMAGE_ID,
            image_grid_pinpoints=tiles,
        )
    )
    _teach(llava_next, tokenizer)
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": _SIDE},
        crop_size={"height": _SIDE, "width": _SIDE},
        image_grid_pinpoints=tiles,
    )
    return LlavaNext(llava_next, tokens, config, processor)


def _text_arguments(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 4096,
        # What a layer adds grows with the width; the embeddings have to stay far larger.
        "initializer_range": _USUAL_RANGE * min(1.0, (_USUAL_WIDTH / shape.width) ** 0.5),
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _vision_config(tower: VisionShape) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=tower.width,
        intermediate_size=tower.mlp_width,
        num_hidden_layers=tower.layers,
        num_attention_heads=tower.heads,
        image_size=_SIDE,
        patch_size=_PATCH,
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    """One token a word."""
    text = f"user : assistant ? . {QUESTION[:-1]} {ANSWER} {PROMPT[:-1]} {' '.join(PHRASES)}"
    words = dict.fromkeys(text.split())
    vocabulary = {word: i for i, word in enumerate([*_SPECIAL, *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


@torch.no_grad()
def _teach(
    model: LlavaForConditionalGeneration | LlavaNextForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Makes the model say ANSWER after a prompt, then end."""
    said = tokenizer(f": {ANSWER}", add_special_tokens=False).input_ids
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings().weight
    embedding.normal_()  # far larger than what the layers add
    head.zero_()
    for before, after in zip(said, [*said[1:], tokenizer.eos_token_id], strict=True):
        head[after] += embedding[before]
