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

"""One phrase that was measured: pixels shared with the truth, score, and what the data set says.

A case holds counts and no masks, so that a million of them are gathered from many processes and
every metric is exact whatever the order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.masks.mask import overlap

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """A phrase, by its place in the data set, against the truth.

    index, number: of the sample and of the phrase in it. key: of the sample. words: of the phrase.
    intersection_px, union_px: of the mask and the truth, pixels to be ignored left out; the mask
        counts as it is, also where the phrase was reported absent.
    score: 0..1. said_absent: reported as not in the image. is_absent, is_thing, is_plural,
        is_sentence: the truth, None where the data set does not say.
    refused: why the model would not read the words; empty where it did. Such a mask is empty, and
        the case counts as wrong, also where "absent" would have been right.
    """

    index: int
    number: int
    key: str
    words: str
    intersection_px: int
    union_px: int
    score: float
    said_absent: bool
    is_absent: bool = False
    is_thing: bool | None = None
    is_plural: bool | None = None
    is_sentence: bool | None = None
    refused: str = ""

    @property
    def iou(self) -> float:
        """Intersection over union; 0 where both masks are empty."""
        return self.intersection_px / max(self.union_px, 1)

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in the data set; unique."""
        return self.index, self.number


def shared_pixels(mask: Mask, truth: Mask, ignored: Mask | None = None) -> tuple[int, int]:
    """Pixels in both of two masks bool [H, W], and pixels in any; `ignored` ones count in none.

    Raises:
        ValueError: of different sizes.
    """
    shapes = {mask.shape, truth.shape} | ({ignored.shape} if ignored is not None else set())
    if len(shapes) != 1:
        raise ValueError(f"expected masks of one size, got {sorted(shapes)}")
    if ignored is not None:
        mask, truth = mask & ~ignored, truth & ~ignored
    shared = overlap(mask, truth)
    return shared.intersection_px, shared.union_px
