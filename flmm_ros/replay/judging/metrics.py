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

"""From rows to numbers: masks, words, absence, steadiness, targets, times, resources.

cIoU is the sum of intersections over the sum of unions, mIoU the mean of the IoUs, P@t the share of
IoUs above t. Everything that was not measured is None, and its count 0. Rows of several recordings
are summed up together like those of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from flmm_ros.engine.progress import Stage
from flmm_ros.replay.judging.judge import GOOD_IOU
from flmm_ros.replay.judging.judged_answer import JudgedAnswer

PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)
PERCENTILES = (50, 90, 99)


def measure(rows: Sequence[JudgedAnswer]) -> dict[str, dict[str, float | None]]:
    """All numbers by group; times are groups of their own, "times_ms.total" and so on."""
    return {
        "masks": _masks(rows),
        "answers": _share("match", [r.is_answer_right for r in rows]),
        "absent": _share("accuracy", [r.is_absence_right for r in rows]),
        "ambiguous": _share("accuracy", [r.is_ambiguity_right for r in rows]),
        "refusals": _refusals(rows),
        "commands": _share("right", [r.is_right(GOOD_IOU) for r in rows]),
        "steadiness": _steadiness(rows),
        "target": _targets(rows),
        **{f"times_ms.{name}": numbers for name, numbers in _times(rows).items()},
    }


def flat(groups: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    """The same under one name each: "masks.cIoU"."""
    return {
        f"{g}.{name}": value for g, numbers in groups.items() for name, value in numbers.items()
    }


def spread(values: Iterable[float]) -> dict[str, float | None]:
    """p50, p90, p99, the highest, and how many there are."""
    found = np.array(list(values), float)
    if not len(found):
        return {**{f"p{p}": None for p in PERCENTILES}, "max": None, "n": 0}
    levels: list[float] = np.percentile(found, PERCENTILES).tolist()
    named: dict[str, float | None] = {
        f"p{p}": level for p, level in zip(PERCENTILES, levels, strict=True)
    }
    return {**named, "max": float(found.max()), "n": len(found)}


def _masks(rows: Sequence[JudgedAnswer]) -> dict[str, float | None]:
    pairs = [pair for row in rows for pair in row.pairs or ()]
    pointed = sum(pair.phrase is not None for pair in pairs)
    extra = sum(row.extra for row in rows)
    names = ["cIoU", "mIoU", *(f"P@{t}" for t in PRECISIONS), "found"]
    found: dict[str, float | None] = dict.fromkeys(names)
    if pairs:
        ious = np.array([pair.iou for pair in pairs])
        found["cIoU"] = sum(p.intersection_px for p in pairs) / max(
            1, sum(p.union_px for p in pairs)
        )
        found["mIoU"] = float(ious.mean())
        found |= {f"P@{t}": float((ious > t).mean()) for t in PRECISIONS}
        found["found"] = pointed / len(pairs)
    found["false_alarms"] = extra / (pointed + extra) if pointed + extra else None
    return {**found, "n": len(pairs)}


def _share(name: str, verdicts: Sequence[bool | None]) -> dict[str, float | None]:
    judged = [verdict for verdict in verdicts if verdict is not None]
    return {name: sum(judged) / len(judged) if judged else None, "n": len(judged)}


def _refusals(rows: Sequence[JudgedAnswer]) -> dict[str, float | None]:
    """Those that are due: with the right code; and those that are not."""
    wrong = sum(row.is_error_right is False for row in rows)
    return {"wrong": wrong, "n": sum(row.is_error_right is not None for row in rows)}


def _steadiness(rows: Sequence[JudgedAnswer]) -> dict[str, float | None]:
    """true_iou: what a perfect model would have. changes: share in which what is seen changed."""
    steady = [row.steadiness for row in rows if row.steadiness is not None]
    true = [s.true_iou for s in steady if s.true_iou is not None]
    return {
        "iou": float(np.mean([s.iou for s in steady])) if steady else None,
        "true_iou": float(np.mean(true)) if true else None,
        "changes": float(np.mean([s.is_changed for s in steady])) if steady else None,
        "n": len(steady),
    }


def _targets(rows: Sequence[JudgedAnswer]) -> dict[str, float | None]:
    errors = [
        pair.target_error_m
        for row in rows
        for pair in row.pairs or ()
        if pair.target_error_m is not None
    ]
    levels = spread(errors)
    mean_m = float(np.mean(errors)) if errors else None
    return {
        "mean_m": mean_m,
        **{f"{k}_m": v for k, v in levels.items() if k != "n"},
        "n": len(errors),
    }


def _times(rows: Sequence[JudgedAnswer]) -> dict[str, dict[str, float | None]]:
    """Each stage over the rows in which it ran, in the engine's order, then what is around it."""
    known = [stage.value for stage in Stage]
    found = dict.fromkeys(name for row in rows for name in row.times_ms)
    names = sorted(found, key=lambda name: known.index(name) if name in known else len(known))
    return {n: spread(row.times_ms[n] for row in rows if n in row.times_ms) for n in names}


def described(value: Any) -> str:
    """A number for people."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
