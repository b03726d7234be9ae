"""LLaVA-OneVision: as LLaVA-NeXT, with another vision encoder and a limit on the fine grid.

Where the fine grid has more cells than nine tiles, its features are shrunk to that, so that a cell
covers more of the image.
"""

from __future__ import annotations

import math

from transformers import LlavaOnevisionForConditionalGeneration

from flmm_ros.engine.lmm.families.llava_next import LlavaNext

_SHRINK_FROM = 1.1  # the model's own: a little too many cells are left as they are


class LlavaOnevision(LlavaNext):
    """LLaVA-OneVision on transformers' LlavaOnevisionForConditionalGeneration."""

    family = "llava_onevision"
    model_class = LlavaOnevisionForConditionalGeneration

    def _fine_grid(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        rows, columns = super()._fine_grid(image_hw)
        tiles = int(self.model.config.vision_aspect_ratio.removeprefix("anyres_max_"))
        ratio = math.sqrt(rows * columns / (tiles * self.grid**2))
        if ratio > _SHRINK_FROM:
            rows, columns = int(rows // ratio), int(columns // ratio)
        return rows, columns
