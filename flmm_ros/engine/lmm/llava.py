"""The LLaVA-1.5 family: one square view of the padded image.

Pre-processing is the original F-LMM's, not the model card's: the long side is fitted, the short
side is padded on both sides with the mean colour, nothing is cropped away.

Does not know about: heads, phrases, commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import LlavaForConditionalGeneration

from flmm_ros.engine import conv_tower  # noqa: F401  registers the embedded model's vision tower
from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.lmm.base import Lmm
from flmm_ros.engine.lmm.loading import (
    LoadOptions,
    load_failure,
    load_settings,
    load_tokens,
    load_weights,
)
from flmm_ros.engine.lmm.tokens import PromptTokens
from flmm_ros.engine.types import View


@dataclass(frozen=True)
class PixelRule:
    """How pixels are scaled: value * scale, then (v - mean) / std per channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    @classmethod
    def load(cls, config: ModelConfig, options: LoadOptions) -> PixelRule:
        """From the preprocessor_config.json beside the weights.

        Raises:
            CheckpointError: missing, or without mean or std.
        """
        settings = load_settings(config, options, "preprocessor_config.json")
        try:
            mean, std = tuple(settings["image_mean"]), tuple(settings["image_std"])
        except KeyError as error:
            raise load_failure(config, error) from error
        return cls(mean, std, float(settings.get("rescale_factor", 1 / 255)))

    def apply(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """RGB uint8 [H, W, 3] to float32 [3, H, W]."""
        pixels = image.astype(np.float32) * np.float32(self.scale)
        pixels = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


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
    def load(cls, config: ModelConfig, options: LoadOptions) -> Llava:
        model = load_weights(LlavaForConditionalGeneration, config, options)
        tokens = load_tokens(config, model.config.image_token_id, options)
        return cls(model, tokens, config, PixelRule.load(config, options))

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        return [self.image_token_id] * self.grid * self.grid

    def prepare(self, image: NDArray[np.uint8]) -> Mapping[str, torch.Tensor]:
        rule, fit = self.pixel_rule, self._fit((image.shape[0], image.shape[1]))
        square = np.empty((self.side, self.side, 3), np.uint8)
        square[:] = [int(255 * channel) for channel in rule.mean]
        fitted = Image.fromarray(image).resize((fit.width, fit.height), Image.Resampling.BICUBIC)
        square[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width] = np.asarray(fitted)
        return {"pixel_values": rule.apply(square)[None].to(self.model.dtype)}

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
