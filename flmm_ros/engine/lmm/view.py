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

"""Which image tokens form a grid, and which part of the image the grid covers."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class View:
    """One grid of image tokens, and the part of the image it covers.

    columns: [h * w] indices into the image tokens (0 is the first image token), row-major; columns
        that hold no pixels (newline tokens) are left out.
    box_xyxy_px: what the whole grid covers, in pixels of the user's image. Padding makes it larger
        than the image.
    """

    name: str
    columns: torch.Tensor
    grid_hw: tuple[int, int]
    box_xyxy_px: tuple[float, float, float, float]
