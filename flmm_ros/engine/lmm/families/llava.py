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

"""The LLaVA-1.5 family: one square view of the padded image.

Pre-processing is the original F-LMM's, not the model card's: the long side is fitted, the short
side is padded on both sides with the mean colour, nothing is cropped away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlavaForConditionalGeneration

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.lmm.base import Lmm
from flmm_ros.engine.lmm.families.square import PaddedSquare
from flmm_ros.engine.lmm.families.vision_grid import (
    require_square_grid,
    require_square_images,
)
from flmm_ros.engine.lmm.loading import (
    PROCESSOR_FILE,
    LoadOptions,
    load_settings,
    load_tokens,
    load_weights,
    processor_failure,
)
from flmm_ros.engine.lmm.tokens import PromptTokens
from flmm_ros.engine.lmm.view import View
from flmm_ros.engine.vision import conv_encoder  # noqa: F401  registers it with transformers


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
        settings = load_settings(config, options, PROCESSOR_FILE)
        try:
            mean, std = (tuple(map(float, settings[key])) for key in ("image_mean", "image_std"))
            scale = float(settings.get("rescale_factor", 1 / 255))
        except (KeyError, TypeError, ValueError) as error:
            raise processor_failure(config, f"{type(error).__name__}: {error}") from error
        if len(mean) != 3 or len(std) != 3:
            raise processor_failure(config, f"image_mean {mean} and image_std {std}, not of RGB")
        return cls(mean, std, scale)

    def apply(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """RGB uint8 [H, W, 3] to float32 [3, H, W]."""
        pixels = image.astype(np.float32) * np.float32(self.scale)
        pixels = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


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
        """See `Lmm.load`."""
        rule = cls.load_image_processor(config, options)
        require_square_images(config, options)
        model = load_weights(LlavaForConditionalGeneration, config, options)
        require_square_grid(model, config)
        tokens = load_tokens(config, model.config.image_token_id, options)
        return cls(model, tokens, config, rule)

    @classmethod
    def load_image_processor(cls, config: ModelConfig, options: LoadOptions) -> PixelRule:
        """See `Lmm.load_image_processor`."""
        return PixelRule.load(config, options)

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        """See `Lmm.image_ids`."""
        return [self.image_token_id] * self.grid * self.grid

    def prepare(self, image: NDArray[np.uint8]) -> Mapping[str, torch.Tensor]:
        """See `Lmm.prepare`."""
        rule, square = self.pixel_rule, self._square((image.shape[0], image.shape[1]))
        filled = square.fill(image, tuple(int(255 * channel) for channel in rule.mean))
        return {"pixel_values": rule.apply(filled)[None].to(self.model.dtype)}

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        """See `Lmm.views`."""
        box = self._square(image_hw).box_xyxy_px(image_hw)
        columns = torch.arange(self.grid * self.grid)
        return (View("whole", columns, (self.grid, self.grid), box),)

    def _square(self, image_hw: tuple[int, int]) -> PaddedSquare:
        return PaddedSquare.around(image_hw, self.side)
