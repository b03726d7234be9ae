"""Measure a model on data it never saw; prints a table and JSON.

python -m training.evaluate --tabletop 1000000:1000300
python -m training.evaluate --tabletop 1000000:1000020 --model path/to/model.yaml --json out/e.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.types import FlmmError
from training.tabletop.evaluation import Examination, examine


def seed_range(text: str) -> tuple[int, int]:
    """ "A:B" -> (A, B)."""
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected FIRST:STOP, got {text!r}") from None
    if not 0 <= first < stop <= 5_000_000:
        raise argparse.ArgumentTypeError(f"expected 0 <= FIRST < STOP <= 5000000, got {text!r}")
    return first, stop


def table_of(found: dict[str, object]) -> Table:
    """The numbers a reader looks for first."""
    table = Table("metric", "value", title="tabletop")
    masks, answers = dict(found["masks"]), dict(found["answers"])  # type: ignore[call-overload]
    absent = dict(found["absent"])  # type: ignore[call-overload]
    for name in ("cIoU", "mIoU", "P@0.5", "P@0.7", "P@0.9"):
        if name in masks:
            table.add_row(name, f"{masks[name]:.3f}")
    table.add_row("attention maximum on the object", f"{found['attention_on_object']:.3f}")
    table.add_row("absent F1", f"{absent['F1']:.3f}")
    table.add_row("calibration error", f"{found['calibration_error']:.3f}")
    if answers["n"]:
        table.add_row("questions, exact", f"{answers['questions']:.3f}")
        for kind, share in answers["by_kind"].items():
            table.add_row(f"  {kind}", f"{share:.3f}")
    return table


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
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the JSON here")
    parser.add_argument("--masks-only", action="store_true", help="skip the questions")
    parser.add_argument("--mistakes", action="store_true", help="list the wrong answers")
    args = parser.parse_args(argv)
    start = time.monotonic()
    try:
        grounder = Grounder.from_config(GrounderConfig(model=args.model, device=args.device))
        notes: Examination = examine(grounder, *args.tabletop, with_answers=not args.masks_only)
    except FlmmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = {
        "model": grounder.model_name,
        "seeds": list(args.tabletop),
        "seconds": round(time.monotonic() - start, 1),
        **notes.summary(),
    }
    Console().print(table_of(found))
    if args.mistakes:
        print("\n".join(notes.mistakes))
    text = json.dumps(found, indent=1)
    print(text)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
