"""Measure a model on data it never saw; prints a table and JSON.

python -m training.evaluate --tabletop 1000000:1000300
python -m training.evaluate --tabletop 1000000:1000020 --model path/to/model.yaml --json out/e.json
python -m training.evaluate --tabletop 1000000:1000300 --plots docs    # docs/reliability.png
python -m training.evaluate --tabletop 1000000:1000300 --beside other/model.yaml # a second column
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.types import FlmmError
from training.metrics import score_bins
from training.plots import draw_reliability
from training.tabletop.evaluation import examine
from training.tabletop.examination import Examination


def seed_range(text: str) -> tuple[int, int]:
    """ "A:B" -> (A, B)."""
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected FIRST:STOP, got {text!r}") from None
    if not 0 <= first < stop <= 5_000_000:
        raise argparse.ArgumentTypeError(f"expected 0 <= FIRST < STOP <= 5000000, got {text!r}")
    return first, stop


def rows_of(found: Mapping[str, Any]) -> dict[str, str]:
    """The numbers a reader looks for first; what was not examined is left out."""
    rows = {name: found["masks"].get(name) for name in ("cIoU", "mIoU", "P@0.5", "P@0.7", "P@0.9")}
    rows["attention maximum on the object"] = found["attention_on_object"]
    rows["absent F1"] = found["absent"]["F1"]
    rows["calibration error"] = found["calibration_error"]
    crowds = found["ambiguity"]
    if crowds["n"]:
        rows['"the <kind>" of several: reported'] = crowds["reported"]
        rows["  with the right number"] = crowds["right_number"]
        rows["  with a candidate on each"] = crowds["all_matched"]
    if crowds["unique_n"]:
        rows["unique phrases reported as ambiguous"] = crowds["false_alarms"]
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
    grounder: Grounder, seeds: tuple[int, int], *, with_answers: bool
) -> tuple[Examination, dict[str, Any]]:
    """Examines one model: the notes, and what the JSON says of it."""
    start = time.monotonic()
    notes = examine(grounder, *seeds, with_answers=with_answers)
    return notes, {
        "model": grounder.model_name,
        "seeds": list(seeds),
        "seconds": round(time.monotonic() - start, 1),
        **notes.summary(),
    }


def main(argv: list[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Measure a model on scenes it never saw.",
        epilog="Training uses seeds below 1,000,000; seeds above 5,000,000 are never used.",
    )
    parser.add_argument(
        "--tabletop", type=seed_range, metavar="A:B", required=True, help="scene seeds A..B-1"
    )
    parser.add_argument("--model", default="tabletop", help="model name, YAML or directory")
    parser.add_argument(
        "--beside", metavar="MODEL", help="another model to compare with, examined the same way"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the JSON here")
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="also draw reliability.png there (matplotlib)"
    )
    parser.add_argument("--masks-only", action="store_true", help="skip the questions")
    parser.add_argument("--mistakes", action="store_true", help="list the wrong answers")
    args = parser.parse_args(argv)
    models = [args.model, *([args.beside] if args.beside else [])]
    try:  # both are loaded before a long examination of one
        grounders = [Grounder.from_config(GrounderConfig(m, device=args.device)) for m in models]
        results = [
            measure(each, args.tabletop, with_answers=not args.masks_only) for each in grounders
        ]
    except FlmmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    notes, found = results[0]
    Console().print(table_of(*(column for _, column in results)))
    if args.beside:
        found["beside"] = results[1][1]
    if args.mistakes:
        print("\n".join(notes.mistakes))
    text = json.dumps(found, indent=1)
    print(text)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(text + "\n", encoding="utf-8")
    if args.plots:
        draw_reliability(score_bins(notes.scores, notes.right), args.plots / "reliability.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
