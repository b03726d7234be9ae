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

"""Scores as a table: ours first, published ones below, for people, Markdown and the page.

Scores are shares of one in JSON and percent in tables, as papers print them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from training.evaluation.published import PublishedScore
from training.evaluation.scores import Scores


@dataclass(frozen=True)
class ScoreTable:
    """Rows of text: who, then one cell a metric ("-" where there is none)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    unit: str = "in percent"

    def markdown(self) -> str:
        """A Markdown table with its title and notes."""
        lines = [f"**{self.title}**, {self.unit}", "", _line(self.columns)]
        lines.append("|---|" + "---:|" * (len(self.columns) - 1))
        lines += [_line(row) for row in self.rows]
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines) + "\n"

    def rich(self) -> Table:
        """For a terminal."""
        table = Table(title=f"{self.title}, {self.unit}", caption="\n".join(self.notes))
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


def score_table(
    title: str, model: str, scores: Scores, published: Sequence[PublishedScore]
) -> ScoreTable:
    """Ours in the first row, published scores below."""
    columns = ("method", *scores)
    rows = [(f"{model} (measured here)", *(f"{100 * value:.1f}" for value in scores.values()))]
    for one in published:
        cells = (f"{one.percent[c]:.1f}" if c in one.percent else "-" for c in scores)
        rows.append((f"{one.method} (published)", *cells))
    notes = ["Published scores are those of the papers; none of them was measured here."]
    notes += [f"{note}." for note in dict.fromkeys(one.note for one in published if one.note)]
    return ScoreTable(title, columns, tuple(rows), tuple(notes) if published else ())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
