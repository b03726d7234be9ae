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

"""The part of a depth image around some masks, thinned: enough to follow objects at camera rate.

A box of an object that is followed needs neither the far side of the room nor every pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Intrinsics

_AROUND_M = 0.2  # the plane below an object is looked for up to 0.15 m away
_FEW_PX = 4  # times the pixels that an object needs: it is not thinned below that


@dataclass(frozen=True)
class DepthCrop:
    """Rows and columns of the image that are kept: every `stride`-th between two edges."""

    rows: slice
    columns: slice

    @property
    def stride(self) -> int:
        """Pixels of the image from one that is kept to the next."""
        return int(self.rows.step)

    def of(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """The kept pixels of [H, W]."""
        return np.ascontiguousarray(pixels[self.rows, self.columns])

    def camera(self, whole: Intrinsics) -> Intrinsics:
        """The camera that would have taken them."""
        return replace(
            whole,
            fx_px=whole.fx_px / self.stride,
            fy_px=whole.fy_px / self.stride,
            cx_px=(whole.cx_px - self.columns.start) / self.stride,
            cy_px=(whole.cy_px - self.rows.start) / self.stride,
        )

    def config(self, whole: TargetConfig) -> TargetConfig:
        """Lengths in pixels shrink with them."""
        return replace(whole, erosion_px=-(-whole.erosion_px // self.stride))


def crop_around(
    masks: Sequence[NDArray[np.bool_]],
    depth_m: NDArray[np.float32],
    camera: Intrinsics,
    config: TargetConfig,
    side_px: int,
) -> DepthCrop:
    """Around masks [H, W], at most `side_px` kept pixels high and wide where they stay enough.

    Without a mask, or depth in one, everything is kept.
    """
    height, width = depth_m.shape
    union = np.logical_or.reduce(list(masks)) if masks else np.zeros((0, 0), bool)
    whole = DepthCrop(slice(0, height, 1), slice(0, width, 1))
    if union.shape != depth_m.shape or not union.any():
        return whole
    rows, columns = np.flatnonzero(union.any(axis=1)), np.flatnonzero(union.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    inside = depth_m[top:bottom, left:right][union[top:bottom, left:right]]
    inside = inside[np.isfinite(inside)]
    if inside.size == 0:
        return whole
    margin_px = round(_AROUND_M * max(camera.fx_px, camera.fy_px) / float(np.median(inside)))
    top, left = max(0, top - margin_px), max(0, left - margin_px)
    bottom, right = min(height, bottom + margin_px), min(width, right + margin_px)
    smallest_px = min(int(mask.sum()) for mask in masks if mask.any())
    most = int(np.sqrt(smallest_px / (_FEW_PX * config.min_depth_px)))
    stride = max(1, min(-(-max(bottom - top, right - left) // side_px), most))
    return DepthCrop(slice(int(top), int(bottom), stride), slice(int(left), int(right), stride))
