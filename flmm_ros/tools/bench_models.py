"""Models to measure: real classes, real shapes, random weights, and one sentence they can say.

Time and memory follow from shapes alone, so nothing has to be trained or fetched. A language model
with random weights would answer noise in which no phrase is found; here its embeddings are drawn so
large, and its vocabulary head so made, that each word of `ANSWER` is followed by the next one,
whatever the layers in between compute.

Does not know about: what is measured, how.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from flmm_ros.engine.heads import Heads, HeadsConfig
from flmm_ros.engine.lmm import Lmm
from flmm_ros.engine.lmm.llava import Llava, PixelRule
from flmm_ros.engine.lmm.llava_next import LlavaNext
from flmm_ros.engine.lmm.tokens import PromptTokens
from flmm_ros.engine.mask_refiner import RefinerShape, SamVitShape

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
_VOCABULARY = 1000
_SIDE, _PATCH = 336, 14


@dataclass(frozen=True)
class Shape:
    """Numbers of one model. `sam`: of the image encoder, the same for everybody compared."""

    family: str
    layers: int
    width: int
    heads: int
    key_value_heads: int
    mlp_width: int
    base_channels: int = 64
    sam_input_px: int = 1024
    sam: SamVitShape = SamVitShape(128, 4, 4, window=14, global_layers=(3,), mlp_width=512)


SHAPES = {
    "llava": Shape("llava", 12, 1024, 16, 16, 2816),
    "llava_next": Shape("llava_next", 12, 1024, 16, 4, 2816),  # grouped heads, as mistral's
    "llava_7b": Shape("llava", 32, 4096, 32, 32, 11008, sam=SamVitShape()),
    "llava_next_7b": Shape("llava_next", 32, 4096, 32, 8, 14336, sam=SamVitShape()),
}


def build(shape: Shape, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Grounder:
    """A grounder of this shape; the same weights every time."""
    torch.manual_seed(0)
    lmm = _lmm(shape, device, dtype)
    refiner = RefinerShape(input_size=shape.sam_input_px, encoder=shape.sam)
    heads = Heads(lmm.shape, HeadsConfig(base_channels=shape.base_channels, refiner=refiner))
    config = GrounderConfig(model="bench", device=device, scene_cache=2)
    return Grounder(config, lmm.config, lmm, heads.to(device).eval().requires_grad_(False))


def _lmm(shape: Shape, device: str, dtype: torch.dtype) -> Lmm:
    config = ModelConfig(
        name="bench", family=shape.family, lmm="random", heads="random", prompt=PROMPT
    )
    tokenizer = _tokenizer()
    tokens = PromptTokens(tokenizer, config.template, _IMAGE_ID)
    text = {
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp_width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "vocab_size": _VOCABULARY,
        "max_position_embeddings": 4096,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    # The image tower is tiny: it is the same for everybody and not what is measured.
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=_SIDE,
        patch_size=_PATCH,
    )
    with torch.device(device):
        if shape.family == "llava":
            model = LlavaForConditionalGeneration(
                LlavaConfig(
                    vision_config=vision, text_config=LlamaConfig(**text), image_token_id=_IMAGE_ID
                )
            ).to(dtype)
            _teach(model, tokenizer)
            rule = PixelRule((0.48, 0.46, 0.41), (0.27, 0.26, 0.28), 1 / 255)
            return Llava(model, tokens, config, rule)
        tiles = [[_SIDE * a, _SIDE * b] for a, b in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
        model = LlavaNextForConditionalGeneration(
            LlavaNextConfig(
                vision_config=vision,
                text_config=MistralConfig(**text, sliding_window=None),
                image_token_id=_IMAGE_ID,
                image_grid_pinpoints=tiles,
            )
        ).to(dtype)
    _teach(model, tokenizer)
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": _SIDE},
        crop_size={"height": _SIDE, "width": _SIDE},
        image_grid_pinpoints=tiles,
    )
    return LlavaNext(model, tokens, config, processor)


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
