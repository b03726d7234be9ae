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

"""The published metrics of each benchmark, from cases. All are shares of one (0..1).

Definitions, with what they were checked against:

referring (RefCOCO, RefCOCO+, RefCOCOg): cIoU is the sum of intersections over the sum of unions,
    mIoU (also gIoU) the mean IoU, P@t the share of IoUs above t.
narrative (PNG): average recall, the area under the share of noun phrases with IoU >= t over t in
    0..1 (steps of 1e-5, the sum of left edges, as the benchmark's own code does it), for all
    phrases, and for those of things, of stuff, in the singular and in the plural. A plural counts
    as things whatever it is made of, as in F-LMM's own evaluation.
reasoning (ReasonSeg): gIoU and cIoU; where mask and truth are both empty the IoU is 1. Pixels
    labelled "ignore" do not count. Short and long queries also by themselves.
generalised (gRefCOCO): N-acc is the share of no-target phrases reported absent, T-acc that of the
    others not reported absent. A no-target phrase has IoU 1 where it was reported absent (its
    pixels then count in no union), otherwise 0 with all its pixels in the union. A phrase with
    targets that was reported absent has no intersection; its union stays. P@t: IoU >= t, targets
    only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluation.cases import Case

Scores = dict[str, float]
_RECALL_STEPS = 100_000
_PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
_GENERALISED_PRECISIONS = (0.7, 0.8, 0.9)


def referring(cases: Sequence[Case]) -> Scores:
    """cIoU, mIoU and precisions of phrases that are all there; empty for no cases."""
    if not cases:
        return {}
    ious = _ious(cases)
    found = {
        "cIoU": _overall(_intersections(cases), _unions(cases)),
        "mIoU": float(ious.mean()),
    }
    return found | {f"P@{t}": float((ious > t).mean()) for t in _PRECISIONS}


def narrative(cases: Sequence[Case]) -> Scores:
    """Average recall of all phrases and of each sort that occurs."""
    sorts: dict[str, list[Case]] = {
        "AR": list(cases),
        "AR thing": [c for c in cases if c.is_thing is True or c.is_plural is True],
        "AR stuff": [c for c in cases if c.is_thing is False and c.is_plural is not True],
        "AR singular": [c for c in cases if c.is_plural is False],
        "AR plural": [c for c in cases if c.is_plural is True],
    }
    found = {name: average_recall(_ious(some)) for name, some in sorts.items() if some}
    if cases:
        found["R@0.5"] = float((_ious(cases) > 0.5).mean())
    return found


def reasoning(cases: Sequence[Case]) -> Scores:
    """gIoU and cIoU of all queries, of phrases (short) and of sentences (long)."""
    sorts: dict[str, list[Case]] = {
        "": list(cases),
        " short": [c for c in cases if c.is_sentence is False],
        " long": [c for c in cases if c.is_sentence is True],
    }
    found: Scores = {}
    for sort, some in sorts.items():
        if some:
            ious = [1.0 if c.union_px == 0 and not c.refused else c.iou for c in some]
            found[f"gIoU{sort}"] = float(np.mean(ious))
            found[f"cIoU{sort}"] = _overall(_intersections(some), _unions(some))
    return found


def generalised(cases: Sequence[Case]) -> Scores:
    """gIoU, cIoU, N-acc, T-acc and precisions of phrases with any number of targets."""
    if not cases:
        return {}
    ious, intersections, unions = zip(*(_with_no_target(c) for c in cases), strict=True)
    found = {"gIoU": float(np.mean(ious)), "cIoU": _overall(intersections, unions)}
    absent = [c for c in cases if c.is_absent]
    there = [c for c in cases if not c.is_absent]
    if absent:
        found["N-acc"] = float(np.mean([c.said_absent for c in absent]))
    if there:
        found["T-acc"] = float(np.mean([not c.said_absent for c in there]))
        right = np.array([_with_no_target(c)[0] for c in there])
        found |= {f"P@{t}": float((right >= t).mean()) for t in _GENERALISED_PRECISIONS}
    return found


def average_recall(ious: NDArray[np.float64]) -> float:
    """Area under the share of `ious` [n] that are >= t, over t = 0, 1e-5, ...; 0 of nothing.

    Each IoU adds one step for every left edge that it reaches, which is the same sum without the
    hundred thousand passes.
    """
    edges = np.arange(0, 1, 1 / _RECALL_STEPS)[:-1]
    reached = np.searchsorted(edges, ious, side="right")
    return float(reached.mean() / _RECALL_STEPS) if len(ious) else 0.0


def _with_no_target(case: Case) -> tuple[float, int, int]:
    """IoU, intersection and union as gRefCOCO counts them."""
    if case.is_absent and case.said_absent:
        return 1.0, 0, 0
    if case.said_absent and not case.is_absent:
        return 0.0, 0, case.union_px
    return case.iou, case.intersection_px, case.union_px


def _ious(cases: Iterable[Case]) -> NDArray[np.float64]:
    return np.array([c.iou for c in cases], np.float64)


def _intersections(cases: Iterable[Case]) -> list[int]:
    return [c.intersection_px for c in cases]


def _unions(cases: Iterable[Case]) -> list[int]:
    return [c.union_px for c in cases]


def _overall(intersections: Iterable[int], unions: Iterable[int]) -> float:
    return sum(intersections) / max(sum(unions), 1)  # whole numbers: exact in any order


Measure = Callable[[Sequence[Case]], Scores]
