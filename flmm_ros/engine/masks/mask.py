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

"""Masks as boolean arrays [H, W]: their tight box, and how much two of them agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 around a mask, far edges exclusive; all zero for an empty mask."""
    if not mask.any():
        return 0, 0, 0, 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass(frozen=True)
class Overlap:
    """Two masks on each other: pixels in both, and in either."""

    intersection_px: int
    union_px: int

    def iou(self, empty: float = 0.0) -> float:
        """Intersection over union; `empty` where neither mask has a pixel."""
        return self.intersection_px / self.union_px if self.union_px else empty


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Overlap:
    """The overlap of two masks of one shape.

    Raises:
        ValueError: they have different shapes.
    """
    if one.shape != other.shape:
        raise ValueError(
            f"overlap of masks of one shape: expected a mask of {other.shape}, got {one.shape}"
        )
    both = int(np.count_nonzero(one & other))
    either = int(np.count_nonzero(one)) + int(np.count_nonzero(other)) - both
    return Overlap(both, either)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_], *, empty: float = 0.0) -> float:
    """Intersection over union of two masks of one shape; `empty` where neither has a pixel.

    Raises:
        ValueError: they have different shapes.
    """
    return overlap(one, other).iou(empty)
