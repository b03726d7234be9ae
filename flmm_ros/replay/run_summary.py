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

"""What a run tells on the terminal: the numbers that matter, what was missed or left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flmm_ros.replay.judging.metrics import described, flat
from flmm_ros.replay.judging.summary import EXIT_CODES, PASSED
from flmm_ros.replay.pages.comparison import Comparison
from flmm_ros.replay.pages.run_page import notes_of, warnings_of

_SHOWN = (
    "commands.right",
    "masks.cIoU",
    "masks.mIoU",
    "masks.P@0.5",
    "answers.match",
    "absent.accuracy",
    "steadiness.iou",
    "target.mean_m",
    "times_ms.total.p50",
    "times_ms.total.p99",
    "times_ms.answer.p50",
    "times_ms.answer.p99",
    "times_ms.first_mask.p50",
    "times_ms.cancel.p50",
)


def show_run(summary: Mapping[str, Any], out: Path, console: Console) -> int:
    """Prints the summary of a run and returns its exit status."""
    numbers = flat(summary["metrics"])
    # Text: a user's names may hold what rich reads as markup.
    table = Table(title=Text(f"{summary['scenario']['name']}: {summary['rows']} answers"))
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name in _SHOWN:
        if numbers.get(name) is not None:
            table.add_row(name, described(numbers[name]))
    console.print(table)
    for threshold in summary["thresholds"]:
        style = "green" if threshold["is_met"] else "bold red"
        mark = "met" if threshold["is_met"] else "NOT MET"
        value = described(threshold["value"])
        line = f"{threshold['metric']} {threshold['rule']}: {value}, {mark}"
        console.print(Text(line, style=style))
    for line in warnings_of(summary):
        console.print(Text(line, style="bold yellow"))
    for bag in summary["bags"]:
        for line in notes_of(bag, summary):
            console.print(Text(line, style="yellow"))
        if bag["missed"]:
            console.print(Text(f"{bag['name']}: {'; '.join(bag['missed'])}, NOT MET", "bold red"))
    style = "bold green" if summary["status"] == PASSED else "bold red"
    console.print(Text(f"{summary['status']}; report: {out / 'index.html'}", style=style))
    return EXIT_CODES[summary["status"]]


def show_comparison(found: Comparison, names: tuple[str, str], console: Console) -> None:
    """Prints the numbers of two runs that differ."""
    table = Table(title=f"{found.common} answers in both, {len(found.turned)} of them turned")
    for column in ("metric", *names, ""):
        table.add_column(Text(column))
    for c in found.changes:
        if c.metric.endswith((".n", ".max")):  # on the page
            continue
        style = {"better": "green", "worse": "red"}.get(c.verdict, "")
        verdict = Text(c.verdict, style=style)
        table.add_row(c.metric, described(c.before), described(c.after), verdict)
    console.print(table)
