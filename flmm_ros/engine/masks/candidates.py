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

"""One phrase, several things: "the cube" where three cubes lie.

A phrase in the singular whose mask falls into separate parts of similar size has no one meaning.
Each part is a candidate, so that a robot can ask which one instead of choosing for itself.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks.mask import tight_box

# A part smaller than this share of the largest is a stray patch or a piece behind another object.
MIN_SHARE = 0.25
MIN_AREA_PX = 16
_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


def with_candidates(grounding: Grounding) -> Grounding:
    """The grounding, with its candidates from left to right where there are several; its own mask
    is then that of the best one, for one thing was asked for.

    A candidate's score is the phrase's, times how sure its own pixels are beside the whole mask's.
    """
    if not grounding.is_present:
        return grounding
    parts = separate_parts(grounding.mask)
    if len(parts) < 2:
        return grounding
    sure = float(grounding.soft_mask[grounding.mask].mean())
    candidates = []
    for part in sorted(parts, key=lambda part: tight_box(part)[0]):
        score = grounding.score * float(grounding.soft_mask[part].mean()) / sure
        candidates.append(
            dataclasses.replace(
                grounding,
                mask=part,
                soft_mask=np.where(grounding.mask & ~part, np.float32(0), grounding.soft_mask),
                score=min(score, 1.0),
                box_xyxy_px=tight_box(part),
                is_ambiguous=True,
            )
        )
    best = max(candidates, key=lambda candidate: candidate.score)
    return dataclasses.replace(best, score=grounding.score, candidates=tuple(candidates))


def separate_parts(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The connected parts (8 neighbours) of a mask [H, W] that could each be a thing."""
    labels, count = ndimage.label(mask, _EIGHT_NEIGHBOURS)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    if count == 0:
        return []
    least = max(MIN_AREA_PX, MIN_SHARE * int(areas.max()))
    return [labels == i + 1 for i, area in enumerate(areas) if area >= least]
