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

"""A benchmark as JSON that says on what, and with what, it was measured; and as one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from benchmarks.engine.roofline import roofline
from benchmarks.engine.rows import ModelMeasurement, rows_of

_DIGITS = {"ms": 0, "MiB": 0, "s": 3}  # a GPU is done in hundredths of a second


def report(
    models: Sequence[ModelMeasurement], machine: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything as one JSON: machine, settings, and each model's shape, rows and raw rounds."""
    found: dict[str, Any] = {"machine": dict(machine), "settings": dict(settings), "models": {}}
    for model in models:
        found["models"][model.name] = {
            "shape": dataclasses.asdict(model.shape),
            "rows": [{**asdict(row), "holds": row.holds} for row in rows_of(model)],
            "rounds": {"commands": model.commands, "forwards": model.forwards},
        }
        share = roofline(model, machine["device"])
        if share:
            found["models"][model.name]["roofline"] = share
    return found


def tables(content: Mapping[str, Any]) -> Table:
    """A report as one table, a column for each model; goals stand beside their numbers."""
    machine, models = content["machine"], content["models"]
    title = ", ".join(f"{key} {value}" for key, value in machine.items())
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in models:
        table.add_column(name, justify="right")
    columns = [model["rows"] for model in models.values()]
    section = ""
    for lines in zip(*columns, strict=True):
        if lines[0]["section"] != section:
            section = lines[0]["section"]
            table.add_section()
            table.add_row(f"[bold]{section}[/bold]")
        table.add_row(f"  {lines[0]['name']}", *(_cell(line) for line in lines))
    for name, model in models.items():
        for stage, share in model.get("roofline", {}).items():
            table.add_row(f"  {name}: {stage}, share of the roofline", f"{share:.1%}")
    return table


def _cell(row: Mapping[str, Any]) -> str:
    number = f"{row['value']:.{_DIGITS.get(row['unit'], 2)}f} {row['unit']}"
    if row["goal"] is None:
        return number
    sign, mark = ("<=" if row["at_most"] else ">="), ("holds" if row["holds"] else "FAILS")
    return f"{number}  ({sign} {row['goal']:g} {mark})"
