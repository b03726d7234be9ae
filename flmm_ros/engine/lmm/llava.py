"""The LLaVA-1.5 family: one square view of the padded image.

Pre-processing is the original F-LMM's, not the model card's: the long side is fitted, the short
side is padded on both sides with the mean colour, nothing is cropped away.

Does not know about: heads, phrases, commands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from transformers import AutoTokenizer, LlavaForConditionalGeneration
from transformers.utils import cached_file

from flmm_ros.engine import conv_tower  # noqa: F401  registers the embedded model's vision tower
from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.lmm.base import Lmm, load_failure
from flmm_ros.engine.lmm.tokens import PromptTokens
from flmm_ros.engine.types import CheckpointError, View

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


@dataclass(frozen=True)
class PixelRule:
    """How pixels are scaled: value * scale, then (v - mean) / std per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float


@dataclass(frozen=True)
class _Fit:
    """An image inside the square: its size there and the padding before it."""

    height: int
    width: int
    top: int
    left: int


class Llava(Lmm):
    """LLaVA-1.5 on transformers' LlavaForConditionalGeneration."""

    family = "llava"

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        tokens: PromptTokens | None,
        config: ModelConfig,
        pixel_rule: PixelRule,
    ) -> None:
        super().__init__(model, tokens, config)
        self.pixel_rule = pixel_rule
        vision = model.config.vision_config
        self.side = int(vision.image_size)
        self.grid = self.side // int(vision.patch_size)

    @classmethod
    def load(cls, config: ModelConfig, *, device: str, dtype: str) -> Llava:
        local = Path(config.lmm).is_dir()
        where: dict[str, Any] = {} if local else {"revision": config.revision}
        if local and not (Path(config.lmm) / "config.json").is_file():
            raise load_failure(config, FileNotFoundError("no config.json there"))
        try:
            model, report = LlavaForConditionalGeneration.from_pretrained(
                config.lmm, dtype=_DTYPES[dtype], output_loading_info=True, **where
            )
            rule = _pixel_rule(config, where)
            tokens = _tokens(config, model.config.image_token_id, where)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise load_failure(config, error) from error
        wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
        if wrong:
            raise CheckpointError(
                f"model {config.name!r}: expected weights for every parameter and no others in "
                f"{config.lmm}, got {len(wrong)} that do not fit, first "
                f"{sorted(map(str, wrong))[:3]}"
            )
        return cls(model.to(device), tokens, config, rule)

    @property
    def image_token_id(self) -> int:
        return int(self.model.config.image_token_id)

    def image_tokens(self, image_hw: tuple[int, int]) -> int:
        return self.grid * self.grid

    def prepare(self, image: NDArray[np.uint8]) -> Mapping[str, torch.Tensor]:
        rule, fit = self.pixel_rule, self._fit((image.shape[0], image.shape[1]))
        square = np.empty((self.side, self.side, 3), np.uint8)
        square[:] = [int(255 * channel) for channel in rule.mean]
        fitted = Image.fromarray(image).resize((fit.width, fit.height), Image.Resampling.BICUBIC)
        square[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width] = np.asarray(fitted)
        pixels = square.astype(np.float32) * np.float32(rule.scale)
        pixels = (pixels - np.array(rule.mean, np.float32)) / np.array(rule.std, np.float32)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
        return {"pixel_values": tensor.to(self.model.dtype)}

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        fit = self._fit(image_hw)
        x_scale, y_scale = image_hw[1] / fit.width, image_hw[0] / fit.height  # image px a square px
        left, top = -fit.left * x_scale, -fit.top * y_scale
        box = (left, top, left + self.side * x_scale, top + self.side * y_scale)
        columns = torch.arange(self.grid * self.grid)
        return (View("whole", columns, (self.grid, self.grid), box),)

    def _fit(self, image_hw: tuple[int, int]) -> _Fit:
        longest = max(image_hw)
        height, width = (max(1, self.side * side // longest) for side in image_hw)
        return _Fit(height, width, (self.side - height) // 2, (self.side - width) // 2)


def _pixel_rule(config: ModelConfig, where: Mapping[str, Any]) -> PixelRule:
    path = cached_file(config.lmm, "preprocessor_config.json", **where)
    if path is None:
        raise FileNotFoundError("no preprocessor_config.json there")
    settings = json.loads(Path(path).read_text(encoding="utf-8"))
    return PixelRule(
        mean=tuple(settings["image_mean"]),
        std=tuple(settings["image_std"]),
        scale=float(settings.get("rescale_factor", 1 / 255)),
    )


def _tokens(
    config: ModelConfig, image_token_id: int, where: Mapping[str, Any]
) -> PromptTokens | None:
    """The tokenizer, or None where a local model has no tokenizer files: ids still work then."""
    directory = Path(config.lmm)
    if directory.is_dir() and not any((directory / name).exists() for name in _TOKENIZER_FILES):
        return None
    tokenizer = AutoTokenizer.from_pretrained(config.lmm, **where)
    return PromptTokens(tokenizer, config.template, image_token_id)
