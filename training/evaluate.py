"""Measure a model on data it never saw; prints a table and JSON.

Three things to measure. `--tabletop`: simulated scenes, with conversation. `--data`: a published
benchmark, with the published scores beside; many processes may share it. `--retention`: that the
language model is, bit by bit, the one it was.

python -m training.evaluate --tabletop 1000000:1000300
python -m training.evaluate --tabletop 1000000:1000020 --model path/to/model.yaml --json out/e.json
python -m training.evaluate --tabletop 1000000:1000300 --crowded
python -m training.evaluate --tabletop 1000000:1000300 --plots docs    # docs/reliability.png
python -m training.evaluate --tabletop 1000000:1000300 --out out/scenes # a page of pictures
python -m training.evaluate --tabletop 1000000:1000300 --beside other/model.yaml # a second column
python -m training.evaluate --data refcoco --root DATA --split val --model llava_1_5_7b
torchrun --nproc-per-node 8 -m training.evaluate --data png --root DATA --split val --model MODEL
python -m training.evaluate --retention --model MODEL
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError, FlmmError
from flmm_ros.engine.grounder import Grounder
from training.evaluation.benchmark import Request, run_benchmark, write_results
from training.evaluation.measuring import READINGS, Reader
from training.evaluation.metrics import score_bins
from training.evaluation.pages.plots import draw_reliability
from training.evaluation.processes import Process
from training.evaluation.retention import check_retention

# The simulator is imported where scenes are wanted: published data is measured on machines that
# have none.
if TYPE_CHECKING:
    from training.embedded.evaluation.examination import Examination


def rows_of(found: Mapping[str, Any]) -> dict[str, str]:
    """The numbers a reader looks for first; what was not examined is left out."""
    rows = {name: found["masks"].get(name) for name in ("cIoU", "mIoU", "P@0.5", "P@0.7", "P@0.9")}
    rows["attention maximum on the object"] = found["attention_on_object"]
    rows["absent F1"] = found["absent"]["F1"]
    spelt = found["spelt"]
    if spelt["n"]:
        rows["words of no training text: said absent"] = spelt["unheard_said_absent"]
        rows["words with a slip of the finger: P@0.5"] = spelt["misspelt_P@0.5"]
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
) -> tuple[Examination, dict[str, Any]]:
    """Examines one model: the notes, and what the JSON says of it."""
    from training.embedded.evaluation.evaluation import examine

    start = time.monotonic()
    notes = examine(grounder, *seeds, with_answers=with_answers, is_crowded=is_crowded)
    return notes, {
        "model": grounder.model_name,
        "seeds": list(seeds),
        "crowded": is_crowded,
        "seconds": round(time.monotonic() - start, 1),
        **notes.summary(),
    }


def evaluate_tabletop(args: argparse.Namespace) -> dict[str, Any]:
    """Simulated scenes. Returns what the JSON says."""
    models = [args.model, *([args.beside] if args.beside else [])]
    # both are loaded before a long examination of one
    grounders = [Grounder.from_config(GrounderConfig(m, device=args.device)) for m in models]
    ways = {"with_answers": not args.masks_only, "is_crowded": args.crowded}
    results = [measure(each, args.tabletop, **ways) for each in grounders]
    notes, found = results[0]
    Console().print(table_of(*(column for _, column in results)))
    if args.beside:
        found["beside"] = results[1][1]
    if args.mistakes:
        print("\n".join(notes.mistakes))
    if args.out:
        from training.evaluation.pages.scenes import SceneRange, write_scene_page

        scenes = SceneRange(args.tabletop[0], args.tabletop[1], args.crowded)
        write_scene_page(grounders[0], scenes, rows_of(found), args.out, args.shown)
    if args.plots:
        draw_reliability(score_bins(notes.scores, notes.right), args.plots / "reliability.png")
    return found


def evaluate_data(args: argparse.Namespace) -> dict[str, Any] | None:
    """A published benchmark, this process's share of it. Returns what the JSON says in the first
    process, None in the others."""
    if args.root is None:
        raise ConfigError("--data: expected --root, the folder of the data sets; see --help")
    process = Process.from_environment()
    with process:
        config = GrounderConfig(args.model, device=process.device(args.device))
        reader = Reader(Grounder.from_config(config), args.reading, not args.read_questions)
        model = reader.grounder.model_name
        request = Request(
            data=args.data,
            root=args.root,
            split=args.split,
            out=args.out or Path("out/evaluation") / f"{args.data}_{args.split}_{model}",
            options=dict(args.option),
            limit=args.limit,
            shown=args.shown,
        )
        measured, data = run_benchmark(request, reader, process)
        if not process.is_first:
            return None
        table = write_results(request, reader, measured, data, process.count)
    Console().print(table.rich())
    print(f"JSON, table and pictures: {request.out}")
    found: dict[str, Any] = json.loads((request.out / "evaluation.json").read_text("utf-8"))
    return found


def evaluate_retention(args: argparse.Namespace) -> dict[str, Any]:
    """The language model against itself. Returns what the JSON says."""
    retention = check_retention(GrounderConfig(args.model, device=args.device))
    verdict = "bit-identical" if retention.holds else "CHANGED"
    print(f"{retention.model}: {retention.logits} logits, {retention.weights} weights: {verdict}")
    return retention.to_json()


def option(text: str) -> tuple[str, Any]:
    """ "KEY=VALUE" -> (KEY, VALUE); whole numbers are numbers."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    return key, int(value) if value.isdecimal() else value


def scene_seeds(text: str) -> tuple[int, int]:
    """ "A:B" -> (A, B), seeds of simulated scenes."""
    from flmm_sim.tabletop.tabletop import seed_range

    return seed_range(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(
        description="Measure a model on data it never saw.",
        epilog="Tabletop: training uses seeds below 1,000,000; seeds above 5,000,000 are never "
        "used.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--tabletop", type=scene_seeds, metavar="A:B", help="scene seeds A..B-1")
    what.add_argument(
        "--data",
        metavar="NAME",
        help="a published data set: refcoco, refcoco+, refcocog, png, reasonseg, grefcoco",
    )
    what.add_argument(
        "--retention",
        action="store_true",
        help="compare the language model, bit by bit, with the bare one",
    )
    parser.add_argument("--model", default="tabletop", help="model name, YAML or directory")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the JSON here")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="table and page of the worst, random and best phrases go here (--data: "
        "out/evaluation/...; --tabletop: none)",
    )
    parser.add_argument(
        "--shown", type=positive, default=6, metavar="N", help="phrases of each sort on the page"
    )
    _add_scene_options(parser.add_argument_group("tabletop"))
    _add_data_options(
        parser.add_argument_group("data (also under torchrun; goes on where it was cut off)")
    )
    return parser


def _add_scene_options(scenes: argparse._ArgumentGroup) -> None:
    scenes.add_argument(
        "--beside", metavar="MODEL", help="another model to compare with, examined the same way"
    )
    scenes.add_argument(
        "--plots", type=Path, metavar="DIR", help="also draw reliability.png there (matplotlib)"
    )
    scenes.add_argument(
        "--crowded", action="store_true", help="4 to 10 things, more kinds, textures"
    )
    scenes.add_argument("--masks-only", action="store_true", help="skip the questions")
    scenes.add_argument("--mistakes", action="store_true", help="list the wrong answers")


def _add_data_options(data: argparse._ArgumentGroup) -> None:
    data.add_argument("--root", type=Path, help="folder of the data sets, see training/README.md")
    data.add_argument("--split", default="val")
    data.add_argument(
        "--reading",
        choices=READINGS,
        default="joined",
        help="phrases in their text, as the published numbers (joined, default), each alone "
        "(apart), or as the model's file says (auto)",
    )
    data.add_argument(
        "--read-questions",
        action="store_true",
        help="read a question's words as a phrase instead of answering it first",
    )
    data.add_argument(
        "--option",
        type=option,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the data set, such as expressions=all (RefCOCO: default first)",
    )
    data.add_argument("--limit", type=positive, metavar="N", help="only the first N samples")


def main(argv: list[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
    evaluate = evaluate_tabletop if args.tabletop else evaluate_data
    if args.retention:
        evaluate = evaluate_retention
    try:
        found = evaluate(args)
    except FlmmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if found is None:
        return 0
    text = json.dumps(found, indent=1)
    if args.tabletop or args.retention:
        print(text)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(text + "\n", encoding="utf-8")
    return 1 if found.get("holds") is False else 0


if __name__ == "__main__":
    sys.exit(main())
