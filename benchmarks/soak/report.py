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

"""The result of a soak as tables in the terminal, as JSON and as a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.soak.disturbances import DisturbanceResult
from benchmarks.soak.event_log import percentile
from benchmarks.soak.plot import plot
from benchmarks.soak.result import SoakResult, to_json


def show(result: SoakResult, console: Console) -> None:
    """Prints the tables."""
    count = result.count
    table = Table("", "", title=f"soak, {result.minutes:g} minutes", show_header=False)
    table.add_row("commands sent", f"{count.sent} ({count.sent_by_topic} by topic)")
    table.add_row("answered", str(count.answered))
    for code, number in count.refused.items():
        table.add_row(f"  refused {code}", str(number))
    for reason, number in {**result.stale.by_reason, **count.unexpected}.items():
        table.add_row(f"[red]  {reason}[/red]", str(number))
    table.add_row("pictures shown", str(count.frames))
    table.add_row("cancel latency, ms", _percentiles(count.cancel_ms))
    table.add_row("answer after, s", _percentiles(count.answer_s, digits=2))
    table.add_row("probes unanswered after a start", str(result.unanswered_probes))
    console.print(table)
    events = Table("disturbance", "times", "named by diagnostics", "recovered after, s at most")
    for name in dict.fromkeys(event.name for event in result.events):
        of = [event for event in result.events if event.name == name]
        events.add_row(name, str(len(of)), _named(of), _recovery(of))
    console.print(events)
    checks = Table("requirement", "measured", "at most", "")
    for check in result.checks:
        mark = "[green]met[/green]" if check.is_met else "[red]MISSED[/red]"
        value = "not measured" if math.isnan(check.value) else f"{check.value:.4g}"
        checks.add_row(check.name, value, f"{check.most:g}", mark)
    console.print(checks)
    if result.failure:
        console.print(f"[red]ended early[/red]: {result.failure}", highlight=False)
    for line in (*count.lost[:10], *result.stale.examples[:10]):
        console.print(f"  {line}", markup=False, highlight=False)


def _percentiles(values: Sequence[float], digits: int = 0) -> str:
    if not values:
        return "none"
    shown = (f"p{p} {percentile(values, p):.{digits}f}" for p in (50, 90, 99))
    return f"{', '.join(shown)} ({len(values)})"


def _named(events: Sequence[DisturbanceResult]) -> str:
    texts = [event.diagnosed for event in events]
    if "" in texts:
        return "[red]no[/red]"
    return next((text for text in texts if text), "-")


def _recovery(events: Sequence[DisturbanceResult]) -> str:
    times = [event.recovered_s for event in events if event.recovered_s is not None]
    return f"{max(times):.1f}" if len(times) == len(events) else "[red]never[/red]"


def write(result: SoakResult, out: Path) -> None:
    """Writes soak.json and soak.png."""
    out.mkdir(parents=True, exist_ok=True)
    content = json.dumps(to_json(result), indent=1, allow_nan=False)
    (out / "soak.json").write_text(content + "\n")
    plot(result, out / "soak.png")
