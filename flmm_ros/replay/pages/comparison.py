"""Two runs side by side: which numbers changed, and which answers became better or worse.

python -m flmm_ros.replay compare out/replay/before out/replay/after
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from flmm_ros.replay.judging.judge import GOOD_IOU
from flmm_ros.replay.judging.judged_answer import JudgedAnswer
from flmm_ros.replay.judging.metrics import described, flat
from flmm_ros.replay.judging.summary import read_summary
from flmm_ros.replay.pages.style import TABLE_STYLE
from flmm_ros.replay.pages.worst_answers import problem_of
from flmm_ros.replay.runs.evaluate import rows_in
from flmm_ros.report.style import STYLE

NOISE = 0.01  # a number that changed by a smaller share is the same
IOU_STEP = 0.05  # a mask that changed by less is the same
_WORDS = {True: "better", False: "worse"}
_STYLES = {"better": "met", "worse": "missed", "": ""}
_LESS_IS_BETTER = ("times_ms.", "target.", "resources.", "frames.dropped_")
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
    a, b = (escape(name) for name in names)
    numbers = "".join(
        f'<tr><td>{escape(c.metric)}</td><td class="n">{described(c.before)}</td>'
        f'<td class="n">{described(c.after)}</td>'
        f'<td class="{_STYLES[c.verdict]}">{_sign(c)}</td></tr>'
        for c in comparison.changes
    )
    answers = "".join(
        f"<tr><td>{escape(t.after.bag)}, {t.after.t_s:.2f} s</td><td>{escape(t.after.text)}</td>"
        f"<td>{_described_row(t.before)}</td><td>{_described_row(t.after)}</td>"
        f'<td class="{"met" if t.is_better else "missed"}">'
        f"{'better' if t.is_better else 'worse'}</td></tr>"
        for t in comparison.turned
    )
    facts = "".join(
        f"<p class='facts'><b>{name}</b>: {escape(str(s['model']))}, {escape(s['mode'])}, commit "
        f"{escape(str(s['machine']['commit']))}, {escape(str(s['made']))}, {s['status']}</p>"
        for name, s in zip((a, b), comparison.summaries, strict=True)
    )
    head = f"<th>{a}</th><th>{b}</th><th></th></tr>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{a} and {b}</title><style>{STYLE}{TABLE_STYLE}</style></head>
<body><header><h1>{a} and {b}</h1>{facts}
<p class="lead">{comparison.common} answers are in both runs; {len(comparison.turned)} of them
turned.</p></header><main>
<h2>Answers that turned</h2><table><tr><th>where</th><th>command</th>{head}{answers}</table>
<h2>Numbers that differ</h2><table><tr><th>metric</th>{head}{numbers}</table>
</main></body></html>
"""


def _sign(change: MetricChange) -> str:
    if change.before is None or change.after is None:
        return ""
    return f"{change.after - change.before:+.4g} {change.verdict}"


def _described_row(row: JudgedAnswer) -> str:
    iou = "" if row.worst_iou is None else f" (IoU {row.worst_iou:.2f})"
    return escape((problem_of(row) or "right") + iou)
