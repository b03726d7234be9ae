"""What a soak found: the checks it has to pass, a table, JSON and a plot.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.soak.disturbances import Event
from benchmarks.soak.event_log import OK, Count, Stale, percentile
from benchmarks.soak.node_process import Sample, growth_percent

MAX_CANCEL_MS = 200.0
MAX_GROWTH_PERCENT = 2.0
BIN_S = 5.0
OURS, REFUSED, BAD, GREY = "#1b7f79", "#e0a458", "#c8553d", "#8d99ae"


@dataclass(frozen=True)
class Check:
    """One floor: what was measured and the most it may be. NaN: nothing was measured, which fails
    unless the check is optional."""

    name: str
    value: float
    most: float
    is_optional: bool = False

    @property
    def is_met(self) -> bool:
        """Within the floor."""
        return self.is_optional if math.isnan(self.value) else self.value <= self.most


@dataclass(frozen=True)
class Outcome:
    """Everything a soak has measured. Times are monotonic seconds; the soak began at start_s.

    failure: why it ended before its time, e.g. because the node ended by itself.
    """

    start_s: float
    minutes: float
    settings: dict[str, Any]
    machine: dict[str, Any]
    count: Count
    stale: Stale
    events: Sequence[Event]
    samples: Sequence[Sample]
    unanswered_probes: int
    failure: str = ""

    @property
    def checks(self) -> tuple[Check, ...]:
        """The floors of a soak. The memory's needs a life that is long enough."""
        return (
            Check("commands lost", len(self.count.lost), 0),
            Check("answers without a command, or twice", sum(self.count.unexpected.values()), 0),
            Check("stale results", sum(self.stale.by_reason.values()), 0),
            Check("cancel latency p99, ms", percentile(self.count.cancel_ms, 99), MAX_CANCEL_MS),
            Check(
                "memory growth after warm-up, %",
                growth_percent(self.samples),
                MAX_GROWTH_PERCENT,
                is_optional=True,
            ),
            Check("disturbances not named by diagnostics", self._sum("diagnosed"), 0),
            Check("disturbances not recovered from", self._sum("recovered"), 0),
        )

    def _sum(self, what: str) -> int:
        if what == "diagnosed":
            return sum(event.diagnosed == "" for event in self.events)
        return sum(event.recovered_s is None for event in self.events)

    @property
    def is_passed(self) -> bool:
        """Every floor holds, to the end."""
        return not self.failure and all(check.is_met for check in self.checks)


def show(outcome: Outcome, console: Console) -> None:
    """Prints it for people."""
    count = outcome.count
    table = Table("", "", title=f"soak, {outcome.minutes:g} minutes", show_header=False)
    table.add_row("commands sent", f"{count.sent} ({count.sent_by_topic} by topic)")
    table.add_row("answered", str(count.answered))
    for code, number in count.refused.items():
        table.add_row(f"  refused {code}", str(number))
    for reason, number in {**outcome.stale.by_reason, **count.unexpected}.items():
        table.add_row(f"[red]  {reason}[/red]", str(number))
    table.add_row("pictures shown", str(count.frames))
    table.add_row("cancel latency, ms", _percentiles(count.cancel_ms))
    table.add_row("answer after, s", _percentiles(count.answer_s, digits=2))
    table.add_row("probes unanswered after a start", str(outcome.unanswered_probes))
    console.print(table)
    events = Table("disturbance", "times", "named by diagnostics", "recovered after, s at most")
    for name in dict.fromkeys(event.name for event in outcome.events):
        of = [event for event in outcome.events if event.name == name]
        events.add_row(name, str(len(of)), _named(of), _recovery(of))
    console.print(events)
    checks = Table("floor", "measured", "at most", "")
    for check in outcome.checks:
        mark = "[green]holds[/green]" if check.is_met else "[red]MISSED[/red]"
        value = "not measured" if math.isnan(check.value) else f"{check.value:.4g}"
        checks.add_row(check.name, value, f"{check.most:g}", mark)
    console.print(checks)
    if outcome.failure:
        console.print(f"[red]ended early[/red]: {outcome.failure}", highlight=False)
    for line in (*count.lost[:10], *outcome.stale.examples[:10]):
        console.print(f"  {line}", markup=False, highlight=False)


def _percentiles(values: Sequence[float], digits: int = 0) -> str:
    if not values:
        return "none"
    shown = (f"p{p} {percentile(values, p):.{digits}f}" for p in (50, 90, 99))
    return f"{', '.join(shown)} ({len(values)})"


def _named(events: Sequence[Event]) -> str:
    texts = [event.diagnosed for event in events]
    if "" in texts:
        return "[red]no[/red]"
    return next((text for text in texts if text), "-")


def _recovery(events: Sequence[Event]) -> str:
    times = [event.recovered_s for event in events if event.recovered_s is not None]
    return f"{max(times):.1f}" if len(times) == len(events) else "[red]never[/red]"


def to_json(outcome: Outcome) -> dict[str, Any]:
    """Everything, for machines."""
    count = asdict(outcome.count)
    del count["timeline"]
    return {
        "is_passed": outcome.is_passed,
        "minutes": outcome.minutes,
        "failure": outcome.failure,
        "settings": outcome.settings,
        "machine": outcome.machine,
        "checks": [{**asdict(check), "is_met": check.is_met} for check in outcome.checks],
        "cancel_latency_ms": {p: percentile(outcome.count.cancel_ms, p) for p in (50, 90, 99)},
        "commands": count,
        "stale": {"by_reason": outcome.stale.by_reason, "examples": outcome.stale.examples},
        "events": [
            {**asdict(event), "at_s": event.at_s - outcome.start_s} for event in outcome.events
        ],
        "memory_mib": [
            {"at_s": round(s.at_s - outcome.start_s, 1), "life": s.life, "rss": round(s.rss_mib, 1)}
            for s in outcome.samples
        ],
    }


def write(outcome: Outcome, out: Path) -> None:
    """Writes soak.json and soak.png."""
    out.mkdir(parents=True, exist_ok=True)
    # NaN is no JSON; what was not measured is null.
    content = json.dumps(_without_nan(to_json(outcome)), indent=1, allow_nan=False)
    (out / "soak.json").write_text(content + "\n")
    plot(outcome, out / "soak.png")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def plot(outcome: Outcome, path: Path) -> None:
    """Commands by outcome, memory, and cancel latencies, with every disturbance as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained", dpi=110)
    commands, memory, cancels = figure.subplots(3, 1, height_ratios=(3, 2, 1.5))
    _plot_commands(commands, outcome)
    _plot_memory(memory, outcome)
    _plot_cancels(cancels, outcome)
    for axes in (commands, memory):
        for event in outcome.events:
            color = OURS if event.is_fine else BAD
            axes.axvline(event.at_s - outcome.start_s, color=color, lw=0.8, ls=":")
        axes.set_xlim(0, 60 * outcome.minutes)
    for axes in (commands, memory, cancels):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def _plot_commands(axes: Any, outcome: Outcome) -> None:
    bins: dict[str, Counter[int]] = {"answered": Counter(), "refused": Counter(), "lost": Counter()}
    for sent_s, what in outcome.count.timeline:
        name = "answered" if what == OK else "refused" if what else "lost"
        bins[name][int((sent_s - outcome.start_s) // BIN_S)] += 1
    last = int(60 * outcome.minutes // BIN_S) + 1
    below = [0] * last
    for (name, counts), color in zip(bins.items(), (OURS, REFUSED, BAD), strict=True):
        heights = [counts[i] for i in range(last)]
        edges = [BIN_S * i for i in range(last)]
        axes.bar(edges, heights, BIN_S * 0.9, below, align="edge", color=color, label=name)
        below = [a + b for a, b in zip(below, heights, strict=True)]
    axes.set_title(f"commands in {BIN_S:g} s, by when they were sent", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    top = 1.5 * max([1, *below])  # room for the names
    axes.set_ylim(0, top)
    for event in outcome.events:
        at_s = event.at_s - outcome.start_s
        axes.text(at_s, top, f" {event.name}", rotation=90, va="top", fontsize=6, color=GREY)


def _plot_memory(axes: Any, outcome: Outcome) -> None:
    for life in sorted({s.life for s in outcome.samples}):
        of = [s for s in outcome.samples if s.life == life]
        axes.plot([s.at_s - outcome.start_s for s in of], [s.rss_mib for s in of], color=OURS)
    axes.set_ylim(bottom=0)
    axes.set_title("resident memory of the node, MiB; seconds", loc="left", fontsize=10)


def _plot_cancels(axes: Any, outcome: Outcome) -> None:
    if outcome.count.cancel_ms:
        axes.hist(outcome.count.cancel_ms, bins=40, color=OURS)
    axes.axvline(MAX_CANCEL_MS, color=BAD, lw=1)
    axes.set_title("cancels: ms from asking to the goal's end", loc="left", fontsize=10)
