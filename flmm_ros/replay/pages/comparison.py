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

"""Two runs side by side: which numbers changed, and which answers became better or worse.

flmm replay compare out/replay/before out/replay/after
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flmm_ros.replay.judging.judge import GOOD_IOU
from flmm_ros.replay.judging.judged_answer import JudgedAnswer
from flmm_ros.replay.judging.metrics import described, flat
from flmm_ros.replay.judging.summary import read_summary
from flmm_ros.replay.pages.worst_answers import problem_of
from flmm_ros.replay.runs.evaluate import rows_in
from flmm_ros.report.rendering import render

NOISE = 0.01  # a number that changed by a smaller share is the same
IOU_STEP = 0.05  # a mask that changed by less is the same
_WORDS = {True: "better", False: "worse"}
_LESS_IS_BETTER = ("times_ms.", "target.", "resources.", "frames.dropped_", "frames.without_")
_LESS = ("masks.false_alarms", "refusals.wrong", "steadiness.changes")
_NEUTRAL = (".n", "steadiness.true_iou", "frames.in_bag", "frames.used")


@dataclass(frozen=True)
class MetricChange:
    """A number of both runs. gain: above 0 is better; None: neither better nor worse."""

    metric: str
    before: float | None
    after: float | None
    gain: float | None

    @property
    def verdict(self) -> str:
        """ "better" or "worse"; empty where it is neither, or next to nothing."""
        least = NOISE * abs(self.before or 0.0)
        return "" if self.gain is None or abs(self.gain) <= least else _WORDS[self.gain > 0]


@dataclass(frozen=True)
class ChangedAnswer:
    """An answer that became right or wrong, or whose mask moved. is_better: than before."""

    before: JudgedAnswer
    after: JudgedAnswer
    is_better: bool


@dataclass(frozen=True)
class Comparison:
    """Both summaries, the numbers that differ, the answers that turned; common: answers in both."""

    summaries: tuple[Mapping[str, Any], Mapping[str, Any]]
    changes: tuple[MetricChange, ...]
    turned: tuple[ChangedAnswer, ...]
    common: int


def compare(before: Path, after: Path) -> Comparison:
    """Reads two finished runs.

    Raises:
        ResultError: one of them is none.
    """
    summaries = (read_summary(before), read_summary(after))
    numbers = [flat(summary["metrics"]) for summary in summaries]
    names = dict.fromkeys([*numbers[0], *numbers[1]])
    changes = tuple(_change(n, numbers[0].get(n), numbers[1].get(n)) for n in names)
    old = {row.key: row for row in rows_in(before)}
    pairs = [(old[row.key], row) for row in rows_in(after) if row.key in old]
    turned = [t for t in (_turned(*pair) for pair in pairs) if t is not None]
    turned.sort(key=lambda t: t.is_better)
    differing = tuple(c for c in changes if c.before != c.after)
    return Comparison(summaries, differing, tuple(turned), len(pairs))


def worse(comparison: Comparison, tolerance: float) -> list[MetricChange]:
    """Numbers that became worse by more than a share of what they were."""
    return [
        c
        for c in comparison.changes
        if c.gain is not None and c.gain < -tolerance * max(abs(c.before or 0.0), 1e-9)
    ]


def _change(name: str, before: float | None, after: float | None) -> MetricChange:
    if before is None or after is None or name.endswith(_NEUTRAL):
        return MetricChange(name, before, after, None)
    is_less_better = name.startswith(_LESS_IS_BETTER) or name in _LESS
    return MetricChange(name, before, after, before - after if is_less_better else after - before)


def _turned(before: JudgedAnswer, after: JudgedAnswer) -> ChangedAnswer | None:
    was, now = before.is_right(GOOD_IOU), after.is_right(GOOD_IOU)
    if was is not None and now is not None and was != now:
        return ChangedAnswer(before, after, is_better=now)
    low, high = before.worst_iou, after.worst_iou
    if low is not None and high is not None and abs(high - low) >= IOU_STEP:
        return ChangedAnswer(before, after, is_better=high > low)
    return None


def render_comparison(comparison: Comparison, names: Sequence[str]) -> str:
    """A page with both runs' numbers and the answers that turned."""
    runs = [
        {
            "name": name,
            "words": f"{s['model']}, {s['mode']}, commit {s['machine']['commit']}, {s['made']}, "
            f"{s['status']}",
        }
        for name, s in zip(names, comparison.summaries, strict=True)
    ]
    answers = [
        {
            "where": f"{t.after.bag}, {t.after.t_s:.2f} s",
            "command": t.after.text,
            "before": _described_row(t.before),
            "after": _described_row(t.after),
            "is_better": t.is_better,
        }
        for t in comparison.turned
    ]
    changes = [
        {
            "metric": c.metric,
            "before": described(c.before),
            "after": described(c.after),
            "verdict": c.verdict,
            "words": _sign(c),
        }
        for c in comparison.changes
    ]
    return render(
        "flmm_ros.replay.pages/comparison.html",
        names=names,
        runs=runs,
        common=comparison.common,
        answers=answers,
        changes=changes,
    )


def _sign(change: MetricChange) -> str:
    if change.before is None or change.after is None:
        return ""
    return f"{change.after - change.before:+.4g} {change.verdict}"


def _described_row(row: JudgedAnswer) -> str:
    iou = "" if row.worst_iou is None else f" (IoU {row.worst_iou:.2f})"
    return (problem_of(row) or "right") + iou
