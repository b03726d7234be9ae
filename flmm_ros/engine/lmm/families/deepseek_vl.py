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

"""DeepSeek-VL: one square view of the image, padded with the mean colour. The 7B model ("hybrid")
has a second, high-resolution vision encoder; its features join the same 24x24 tokens.

The size inside the square is truncated, as in the original that the official heads were trained
with; transformers' image processor rounds it. The processor gets a square and does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    DeepseekVLForConditionalGeneration,
    DeepseekVLHybridForConditionalGeneration,
)

from flmm_ros.engine.lmm.families.processed import ProcessedLmm
from flmm_ros.engine.lmm.families.square import Colour, PaddedSquare
from flmm_ros.engine.lmm.view import View


class DeepseekVL(ProcessedLmm):
    """DeepSeek-VL 1.3B on transformers' DeepseekVLForConditionalGeneration."""

    family = "deepseek_vl"
    model_class = DeepseekVLForConditionalGeneration

    @property
    def _grid(self) -> int:
        vision = self.model.config.vision_config
        return int(vision.image_size) // int(vision.patch_size)

    @property
    def _side(self) -> int:
        """Of the first square that the image is fitted into, in pixels."""
        return int(self.image_processor.size["height"])

    @property
    def _padding(self) -> Colour:
        return tuple(self.image_processor.background_color)

    def image_ids(self, image_hw: tuple[int, int]) -> list[int]:
        """See `Lmm.image_ids`."""
        return [self.image_token_id] * self._grid**2

    def prepare(self, image: NDArray[np.uint8]) -> Mapping[str, torch.Tensor]:
        """See `Lmm.prepare`."""
        square = self._square((image.shape[0], image.shape[1]))
        return super().prepare(square.fill(image, self._padding))

    def views(self, image_hw: tuple[int, int]) -> tuple[View, ...]:
        """See `Lmm.views`."""
        box = self._square(image_hw).box_xyxy_px(image_hw)
        return (View("whole", torch.arange(self._grid**2), (self._grid, self._grid), box),)

    def _square(self, image_hw: tuple[int, int]) -> PaddedSquare:
        return PaddedSquare.around(image_hw, self._side, self.image_processor.min_size)


class DeepseekVLHybrid(DeepseekVL):
    """DeepSeek-VL 7B on transformers' DeepseekVLHybridForConditionalGeneration. The image is fitted
    into the large square, which is then shrunk for the other encoder."""

    family = "deepseek_vl_hybrid"
    model_class = DeepseekVLHybridForConditionalGeneration

    @property
    def _side(self) -> int:
        return int(self.image_processor.high_res_size["height"])

    @property
    def _padding(self) -> Colour:
        return tuple(self.image_processor.high_res_background_color)
