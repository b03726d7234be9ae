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
