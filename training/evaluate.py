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
python -m training.evaluate --data refcoco --root DATA --split all --model llava_1_5_7b
torchrun --nproc-per-node 8 -m training.evaluate --data png --root DATA --split val --model MODEL
python -m training.evaluate --retention --model MODEL
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from flmm_ros.cli.command_line import run_command
from flmm_ros.cli.plain_console import plain_console
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder
from training.data.registry import find
from training.disk import require_writable, writing
from training.evaluation.benchmark import BenchmarkRequest, run_benchmark, write_results
from training.evaluation.measuring import READINGS, SampleReader
from training.evaluation.metrics import score_bins
from training.evaluation.pages.plots import draw_reliability
from training.evaluation.processes import EvaluationProcess
from training.evaluation.retention import check_retention

# The simulator is imported where scenes are wanted: published data is measured on machines that
# have none.


@dataclass(frozen=True)
class TabletopOptions:
    """What is measured on simulated scenes, and what is written. seeds: first and stop."""

    seeds: tuple[int, int]
    models: tuple[str, ...]
    device: str
    is_crowded: bool
    with_answers: bool
    has_mistakes: bool
    plots: Path | None
    out: Path | None
    shown: int


@dataclass(frozen=True)
class DataOptions:
    """What is measured on a published data set. out: None for out/evaluation/DATA_SPLIT_MODEL."""

    name: str
    root: Path
    splits: tuple[str, ...]
    model: str
    device: str
    reading: str
    answers: bool
    options: dict[str, Any]
    limit: int | None
    out: Path | None
    shown: int


def evaluate_tabletop(options: TabletopOptions) -> dict[str, Any]:
    """Simulated scenes. Returns what the JSON says."""
    from training.embedded.evaluation.report import measure, rows_of, table_of

    # all are loaded before a long evaluation of the first
    grounders = [
        Grounder.from_config(GrounderConfig(m, device=options.device)) for m in options.models
    ]
    ways = {"with_answers": options.with_answers, "is_crowded": options.is_crowded}
    measured = [measure(each, options.seeds, **ways) for each in grounders]
    results, found = measured[0]
    plain_console().print(table_of(*(column for _, column in measured)))
    if len(measured) > 1:
        found["beside"] = measured[1][1]
    if options.has_mistakes:
        print("\n".join(results.mistakes))
    if options.out:
        from training.evaluation.pages.scenes import SceneRange, write_scene_page

        scenes = SceneRange(*options.seeds, options.is_crowded)
        write_scene_page(grounders[0], scenes, rows_of(found), options.out, options.shown)
    if options.plots:
        bins = score_bins(results.scores, results.right)
        draw_reliability(bins, options.plots / "reliability.png")
    return found


def evaluate_data(options: DataOptions) -> dict[str, Any] | None:
    """A published benchmark, this process's share of it. Returns what the JSON says in the first
    process, by split where there are several, None in the others."""
    process = EvaluationProcess.from_environment()
    require_writable(options.out or Path("out/evaluation"))
    found: dict[str, Any] = {}
    with process:
        config = GrounderConfig(options.model, device=process.device(options.device))
        reader = SampleReader(Grounder.from_config(config), options.reading, options.answers)
        for split in options.splits:
            request = _request_of(options, split, reader.grounder.model_name)
            measured, data = run_benchmark(request, reader, process)
            if process.is_first:
                table = write_results(request, reader, measured, data, process.count)
                plain_console().print(table.rich())
                print(f"JSON, table and pictures: {request.out}")
                found[split] = json.loads((request.out / "evaluation.json").read_text("utf-8"))
    if not process.is_first:
        return None
    if len(options.splits) == 1:
        (only,) = found.values()
        return dict(only)
    return {"data": options.name, "splits": found}


def _request_of(options: DataOptions, split: str, model: str) -> BenchmarkRequest:
    out = options.out or Path("out/evaluation") / f"{options.name}_{split}_{model}"
    if options.out and len(options.splits) > 1:
        out = options.out / split
    return BenchmarkRequest(
        data=options.name,
        root=options.root,
        split=split,
        out=out,
        options=options.options,
        limit=options.limit,
        shown=options.shown,
    )


def evaluate_retention(model: str, device: str) -> dict[str, Any]:
    """The language model against itself. Returns what the JSON says."""
    retention = check_retention(GrounderConfig(model, device=device))
    verdict = "bit-identical" if retention.holds else "CHANGED"
    print(f"{retention.model}: {retention.logits} logits, {retention.weights} weights: {verdict}")
    return retention.to_json()


def data_option(text: str) -> tuple[str, Any]:
    """ "KEY=VALUE" -> (KEY, VALUE); whole numbers are numbers."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ConfigError(f"--option: expected KEY=VALUE, got {text!r}")
    return key, int(value) if value.isdecimal() else value


def scene_seeds(text: str) -> tuple[int, int]:
    """ "A:B" -> (A, B), seeds of simulated scenes."""
    from flmm_sim.tabletop.seeds import seed_range

    seeds = seed_range(text)
    return seeds.start, seeds.stop


def splits_of(name: str, text: str) -> tuple[str, ...]:
    """The splits a text names: one, several with commas, or "all" the data set has.

    Raises:
        ConfigError: none. DataError: the data set is unknown.
    """
    if text == "all":
        return find(name).splits
    splits = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not splits:
        raise ConfigError(f"--split: expected a split, several with commas, or all, got {text!r}")
    return splits


def at_least_one(name: str, number: int | None) -> None:
    """Raises ConfigError for a number below 1."""
    if number is not None and number < 1:
        raise ConfigError(f"{name}: expected a whole number of at least 1, got {number}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m training.evaluate`; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    logging.getLogger("training").setLevel(logging.INFO)
    return run_command(_evaluate, argv, "python -m training.evaluate")


_SCENES, _DATA = "tabletop: ", "data: "


def _evaluate(  # noqa: PLR0913  options of a program
    tabletop: Annotated[
        str | None, typer.Option(metavar="A:B", help="Measure on simulated scenes A..B-1.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Measure on a published data set: refcoco, refcoco+, refcocog, png, reasonseg, "
            "grefcoco. Also under torchrun; goes on where it was cut off.",
        ),
    ] = None,
    is_retention: Annotated[
        bool,
        typer.Option(
            "--retention", help="Compare the language model, bit by bit, with the bare one."
        ),
    ] = False,
    model: Annotated[str, typer.Option(help="Model name, YAML or directory.")] = "tabletop",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the JSON here.")] = (
        None
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Table and page of the worst, random and best phrases go here (--data: "
            "out/evaluation/...; --tabletop: none).",
        ),
    ] = None,
    shown: Annotated[int, typer.Option(metavar="N", help="Phrases of each sort on the page.")] = 6,
    beside: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help=_SCENES + "another model, for a second column."),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=_SCENES + "also draw reliability.png there."),
    ] = None,
    is_crowded: Annotated[
        bool,
        typer.Option("--crowded", help=_SCENES + "4 to 10 things, more kinds, textures."),
    ] = False,
    is_masks_only: Annotated[
        bool, typer.Option("--masks-only", help=_SCENES + "skip the questions.")
    ] = False,
    has_mistakes: Annotated[
        bool, typer.Option("--mistakes", help=_SCENES + "list the wrong answers.")
    ] = False,
    root: Annotated[
        Path | None,
        typer.Option(help=_DATA + "folder of the data sets, see training/README.md."),
    ] = None,
    split: Annotated[
        str, typer.Option(help=_DATA + "a split, several with commas, or all.")
    ] = "val",
    reading: Annotated[
        str,
        typer.Option(
            metavar="|".join(READINGS),
            help=_DATA + "phrases in their text, as the published numbers (joined), each alone "
            "(apart), or as the model's file says (auto).",
        ),
    ] = "joined",
    is_question_read: Annotated[
        bool,
        typer.Option(
            "--read-questions",
            help=_DATA + "read a question's words as a phrase instead of answering it first.",
        ),
    ] = False,
    option: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE",
            help=_DATA + "option of the data set, such as expressions=all (RefCOCO: first).",
        ),
    ] = [],  # noqa: B006  Typer copies it
    limit: Annotated[
        int | None, typer.Option(metavar="N", help=_DATA + "only the first N samples.")
    ] = None,
) -> int:
    """Measure a model on data it never saw.

    Give one of --tabletop, --data and --retention. Tabletop: training uses seeds below 1,000,000;
    seeds above 5,000,000 are never used.
    """
    if (tabletop is not None) + (data is not None) + is_retention != 1:
        raise ConfigError("expected one of --tabletop A:B, --data NAME and --retention; see --help")
    at_least_one("--shown", shown)
    at_least_one("--limit", limit)
    if reading not in READINGS:
        raise ConfigError(f"--reading: expected one of {', '.join(READINGS)}, got {reading!r}")
    found: dict[str, Any] | None
    if is_retention:
        found = evaluate_retention(model, device)
    elif tabletop is not None:
        models = (model, beside) if beside else (model,)
        found = evaluate_tabletop(
            TabletopOptions(
                scene_seeds(tabletop),
                models,
                device,
                is_crowded,
                not is_masks_only,
                has_mistakes,
                plots,
                out,
                shown,
            )
        )
    else:
        if data is None or root is None:
            raise ConfigError("--data: expected --root, the folder of the data sets; see --help")
        found = evaluate_data(
            DataOptions(
                data,
                root,
                splits_of(data, split),
                model,
                device,
                reading,
                not is_question_read,
                dict(map(data_option, option)),
                limit,
                out,
                shown,
            )
        )
    if found is None:
        return 0
    text = json.dumps(found, indent=1)
    if data is None:
        print(text)
    if json_file:
        with writing(json_file):
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(text + "\n", encoding="utf-8")
    return 1 if found.get("holds") is False else 0


if __name__ == "__main__":
    sys.exit(main())
