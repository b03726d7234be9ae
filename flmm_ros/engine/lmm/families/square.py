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

"""An image fitted into a square, the short side padded on both sides with one colour.

As LLaVA-1.5, DeepSeek-VL and the original F-LMM do it: sizes are truncated, not rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colour = tuple[int, ...]


@dataclass(frozen=True)
class PaddedSquare:
    """A square of `side` pixels with an image of `fitted_hw` in its middle; where the padding is
    odd, the larger part lies behind the image."""

    side: int
    fitted_hw: tuple[int, int]

    @classmethod
    def around(cls, image_hw: tuple[int, int], side: int, least: int = 1) -> PaddedSquare:
        """The square for an image; its short side becomes no shorter than `least`."""
        height, width = (max(least, side * length // max(image_hw)) for length in image_hw)
        return cls(side, (height, width))

    @property
    def before(self) -> tuple[int, int]:
        """Rows and columns of padding before the image."""
        height, width = self.fitted_hw
        return (self.side - height) // 2, (self.side - width) // 2

    def fill(self, image: NDArray[np.uint8], colour: Colour) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3] of any size to [side, side, 3]."""
        (height, width), (top, left) = self.fitted_hw, self.before
        square = np.empty((self.side, self.side, 3), np.uint8)
        square[:] = colour
        fitted = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
        square[top : top + height, left : left + width] = np.asarray(fitted)
        return square

    def box_xyxy_px(self, image_hw: tuple[int, int]) -> tuple[float, float, float, float]:
        """What the square covers, in pixels of the image before it was fitted."""
        (height, width), (top, left) = self.fitted_hw, self.before
        y_scale, x_scale = image_hw[0] / height, image_hw[1] / width  # image px a square px
        x, y = -left * x_scale, -top * y_scale
        return x, y, x + self.side * x_scale, y + self.side * y_scale
