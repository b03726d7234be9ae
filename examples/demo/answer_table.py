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

"""The answers of a run as a table in the terminal, a row for each command."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from examples.demo.page import ShownCommand
from flmm_ros.engine.masks.overlay import color_of


def answer_table() -> Table:
    """The empty table."""
    table = Table(title="what was asked, what was answered", title_justify="left", expand=True)
    table.add_column("#", justify="right")
    table.add_column("command", ratio=3)
    table.add_column("intent", min_width=7, ratio=1)
    table.add_column("answer", ratio=4)
    table.add_column("objects: score, IoU", ratio=4)
    table.add_column("ms", justify="right")
    table.add_column("", width=1)
    return table


def answer_row(number: int, c: ShownCommand) -> tuple[Text, ...]:
    """One answer as cells. Text objects: answers may hold what rich would take for markup."""
    objects = Text()
    for index, o in enumerate(c.objects):
        g = o.grounding
        numbers = f" {g.score:.2f}" + ("" if o.iou is None else f", {o.iou:.2f}")
        style = "rgb({},{},{})".format(*color_of(index)) if g.is_present else "dim"
        objects.append("\n" if index else "")
        objects.append("\u25a0 " if g.is_present else "\u25a1 ", style)
        phrase = g.phrase + ("?" if g.is_ambiguous else "")
        objects.append(phrase + (numbers if g.is_present else f" {g.score:.2f}, not seen"))
    said = Text(c.answer)
    if c.is_refused:
        said = Text(f"{c.error_code}: {c.error_text}", style="yellow")
    if c.problem:
        said.append(f"\nwrong: {c.problem}", style="red")
    return (
        Text(str(number)),
        Text(c.command if c.command.strip() else "(blank)"),
        Text(c.intent.replace("_", " ")),
        said,
        objects,
        Text("-" if c.is_refused else f"{c.total_ms:.0f}"),
        Text("\u2717", style="red") if c.problem else Text("\u2713", style="green"),
    )
