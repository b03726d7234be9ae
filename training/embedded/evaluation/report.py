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

"""The tabletop evaluation of one model or two: its numbers as JSON, and the table for people."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from flmm_ros.engine.grounder import Grounder
from training.embedded.evaluation.results import TabletopResults
from training.embedded.evaluation.tabletop import evaluate_scenes


def rows_of(found: Mapping[str, Any]) -> dict[str, str]:
    """The numbers a reader looks for first; what was not evaluated is left out."""
    rows = {name: found["masks"].get(name) for name in ("cIoU", "mIoU", "P@0.5", "P@0.7", "P@0.9")}
    rows["attention maximum on the object"] = found["attention_on_object"]
    rows["absent F1"] = found["absent"]["F1"]
    spelt = found["spelt"]
    if spelt["n"]:
        rows["untrained words: said absent"] = spelt["unheard_said_absent"]
        rows["words with a typo: P@0.5"] = spelt["misspelt_P@0.5"]
    rows["calibration error"] = found["calibration_error"]
    crowds = found["ambiguity"]
    if crowds["n"]:
        rows['"the <kind>" of several: reported'] = crowds["reported"]
        rows["  with the right number"] = crowds["right_number"]
        rows["  with a candidate on each"] = crowds["all_matched"]
    if crowds["unique_n"]:
        rows["unique phrases reported as ambiguous"] = crowds["false_alarms"]
    for sort, part in found["compared"].items():
        if part["n"]:
            rows[f"{sort} phrases: P@0.5"] = part["P@0.5"]
            rows[f"  {sort}: where the kind does not tell"] = part["P@0.5 contested"]
    answers, talks, names = found["answers"], found["conversations"], found["phrases_of_answers"]
    if answers["n"]:
        rows["questions, exact"] = answers["questions"]
        rows |= {f"  {kind}": part for kind, part in answers["by_kind"].items()}
    if talks["n"]:
        rows["later turns of conversations, exact"] = talks["turns"]
    for who in ("selector", "rules"):
        if names[who]["n"]:
            rows[f"names in answers by {who}: token F1"] = names[who]["token_F1"]
            rows[f"names in answers by {who}: phrase F1"] = names[who]["phrase_F1"]
    return {name: f"{value:.3f}" for name, value in rows.items() if value is not None}


def table_of(*models: Mapping[str, Any]) -> Table:
    """`rows_of` as a table, one column a model."""
    table = Table("metric", *(found["model"] for found in models), title="tabletop")
    columns = [rows_of(found) for found in models]
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(column.get(name, "-") for column in columns))
    return table


def measure(
    grounder: Grounder, seeds: tuple[int, int], *, with_answers: bool, is_crowded: bool = False
) -> tuple[TabletopResults, dict[str, Any]]:
    """Evaluates one model: all results, and what the JSON says of it."""
    start = time.monotonic()
    results = evaluate_scenes(grounder, *seeds, with_answers=with_answers, is_crowded=is_crowded)
    return results, {
        "model": grounder.model_name,
        "seeds": list(seeds),
        "crowded": is_crowded,
        "seconds": round(time.monotonic() - start, 1),
        **results.summary(),
    }
