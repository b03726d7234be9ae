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

"""From a view's grid to the user's image: the only place where padding is cut away."""

from __future__ import annotations

import torch

from flmm_ros.engine.lmm.view import View

# A whole number may come out of the division a hair too small, and truncation would lose a pixel.
_ROUNDING = 1e-6


def crop_to_image(grids: torch.Tensor, view: View, image_hw: tuple[int, int]) -> torch.Tensor:
    """Cuts what lies outside the image from [..., h, w] that covers `view`; at least one cell
    stays.

    As the original does: offsets are truncated, sizes rounded to nearest.
    """
    x0, y0, x1, y1 = view.box_xyxy_px
    height, width = grids.shape[-2:]
    per_x, per_y = width / (x1 - x0), height / (y1 - y0)  # cells a pixel
    left, top = int(-x0 * per_x + _ROUNDING), int(-y0 * per_y + _ROUNDING)
    rows = max(1, int(image_hw[0] * per_y + 0.5 + _ROUNDING))
    columns = max(1, int(image_hw[1] * per_x + 0.5 + _ROUNDING))
    return grids[..., top : top + rows, left : left + columns]
