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

"""Takes out of a grounding what a command says is not meant: "the ball that is not blue".

A part of the mask that lies on an excluded thing goes; of the others go the pixels of that thing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks.candidates import MIN_AREA_PX
from flmm_ros.engine.masks.mask import tight_box

# A part of which more than this share is excluded is the excluded thing.
MAX_EXCLUDED_SHARE = 0.5
_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


def without(grounding: Grounding, excluded: Sequence[Grounding]) -> Grounding:
    """A grounding without what is excluded; absent, with an empty mask, where nothing is left.

    excluded: groundings of the same image; those that are not present take nothing away.
    """
    taken = [g.mask for e in excluded if e.is_present for g in e.candidates or (e,)]
    if not taken or not grounding.is_present:
        return grounding
    away = np.logical_or.reduce(taken)
    if not (grounding.mask & away).any() and not grounding.candidates:
        return grounding
    if not grounding.candidates:
        return _masked(grounding, _kept(grounding.mask, away))
    left = [_masked(candidate, _kept(candidate.mask, away)) for candidate in grounding.candidates]
    left = [candidate for candidate in left if candidate.is_present]
    if not left:
        return _masked(grounding, np.zeros_like(grounding.mask))
    best = max(left, key=lambda candidate: candidate.score)
    if len(left) == 1:  # the others were excluded: it is no longer one of several
        return dataclasses.replace(best, score=grounding.score, is_ambiguous=False)
    return dataclasses.replace(best, score=grounding.score, candidates=tuple(left))


def _kept(mask: NDArray[np.bool_], away: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels [H, W] of the parts of a mask that are mostly not excluded."""
    labels, count = ndimage.label(mask, _EIGHT_NEIGHBOURS)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    lost = np.bincount(labels[away], minlength=count + 1)
    stays = lost <= MAX_EXCLUDED_SHARE * areas
    stays[0] = False
    kept: NDArray[np.bool_] = stays[labels] & ~away
    return kept if kept.sum() >= MIN_AREA_PX else np.zeros_like(mask)


def _masked(grounding: Grounding, mask: NDArray[np.bool_]) -> Grounding:
    if mask.sum() == grounding.mask.sum():
        return grounding
    is_present = bool(mask.any())
    return dataclasses.replace(
        grounding,
        mask=mask,
        soft_mask=np.where(mask | ~grounding.mask & is_present, grounding.soft_mask, 0).astype(
            np.float32
        ),
        box_xyxy_px=tight_box(mask),
        score=grounding.score if is_present else 0.0,
        is_present=is_present,
        is_ambiguous=grounding.is_ambiguous and is_present,
        candidates=(),
    )
