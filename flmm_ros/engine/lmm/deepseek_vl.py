"""DeepSeek-VL: one square view of the image, padded with the mean colour. The 7B model ("hybrid")
looks at it with a second, high-resolution tower too; its features join the same 24x24 tokens.

Does not know about: heads, phrases, commands.
"""

from __future__ import annotations

import torch
from transformers import (
    DeepseekVLForConditionalGeneration,
    DeepseekVLHybridForConditionalGeneration,
)

from flmm_ros.engine.lmm.processed import ProcessedLmm
from flmm_ros.engine.types import View


class DeepseekVL(ProcessedLmm):
    """DeepSeek-VL 1.3B on transformers' DeepseekVLForConditionalGeneration."""

    family = "deepseek_vl"
    model_class = DeepseekVLForConditionalGeneration

    @property
    def _grid(self) -> int:
        vision = self.model.config.vision_config
        return int(vision.image_size) // int(vision.patch_size)

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        return [self.image_token_id] * self._grid**2

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        # The long side is fitted, the short one padded on both sides, the odd pixel at the end; a
        # short side is never made shorter than `min_size`.
        processor, longest = self.image_processor, max(image_hw)
        side = processor.size["height"]
        fitted = [max(round(length * side / longest), processor.min_size) for length in image_hw]
        height_scale, width_scale = (n / fit for n, fit in zip(image_hw, fitted, strict=True))
        top, left = ((side - fit) // 2 for fit in fitted)
        box = (
            -left * width_scale,
            -top * height_scale,
            (side - left) * width_scale,
            (side - top) * height_scale,
        )
        return (View("whole", torch.arange(self._grid**2), (self._grid, self._grid), box),)


class DeepseekVLHybrid(DeepseekVL):
    """DeepSeek-VL 7B on transformers' DeepseekVLHybridForConditionalGeneration."""

    family = "deepseek_vl_hybrid"
    model_class = DeepseekVLHybridForConditionalGeneration
