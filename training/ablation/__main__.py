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

"""What each part of the heads is worth: trains small variants with one budget and compares them.

python -m training.ablation --docs docs        # all variants; fills docs/training.md, ablation.png
python -m training.ablation --only "last layer" --steps 50
python -m training.ablation --scenes 8 --unseen 4 --steps 3 --out out/try   # does it run?

Goes on where it was cut off. Scores are measured on scenes that no training saw.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.fingerprint import weights_fingerprint
from flmm_ros.engine.grounder import Grounder
from training.ablation.prepared import prepare, trained_heads
from training.ablation.report import draw, fill_in, markdown, write_json
from training.ablation.runs import AblationData, TrainingBudget, VariantResult, run_variant
from training.ablation.variants import VARIANTS, Variant

log = logging.getLogger("training.ablation")
NAMES = "Variants: " + ", ".join(variant.name for variant in VARIANTS)
FIRST_SEED, FIRST_UNSEEN = 0, 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m training.ablation`; returns the exit status."""
    return run_command(_ablation, argv, "python -m training.ablation")


@dataclass(frozen=True)
class AblationOptions:
    """What is compared, on how much, and where the results go."""

    model: str
    out: Path
    docs: Path | None
    scenes: int
    unseen: int
    budget: TrainingBudget
    device: str
    variants: tuple[Variant, ...]
    has_plot: bool


def _ablation(  # noqa: PLR0913  options of a program
    model: Annotated[str, typer.Option(help="Model name, YAML or directory.")] = "tabletop",
    out: Annotated[Path, typer.Option(help="Working directory.")] = Path("out/ablation"),
    docs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also fill in DIR/training.md.")
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Training scenes.")] = 800,
    unseen: Annotated[int, typer.Option(min=1, help="Scenes to measure on.")] = 200,
    steps: Annotated[int, typer.Option(min=1, help="Of every variant.")] = 300,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of weights and draws.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    is_scratch: Annotated[
        bool,
        typer.Option(
            "--scratch", help="SAM's prompt encoder and mask decoder start from nothing, too."
        ),
    ] = False,
    only: Annotated[
        list[str], typer.Option(metavar="VARIANT", help=f"Only these; may be repeated. {NAMES}")
    ] = [],  # noqa: B006  Typer copies it
    is_without_plot: Annotated[
        bool, typer.Option("--no-plot", help="Do without matplotlib.")
    ] = False,
) -> None:
    """Train small variants of the heads with one budget and compare them."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    budget = TrainingBudget(steps, seed, rate, is_scratch)
    variants = chosen(only)
    has_plot = not is_without_plot
    run(AblationOptions(model, out, docs, scenes, unseen, budget, device, variants, has_plot))


def chosen(names: Sequence[str] | None) -> tuple[Variant, ...]:
    """The variants of these names; all where none is given.

    Raises:
        ConfigError: a name that is none.
    """
    known = {v.name: v for v in VARIANTS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(
            f"--only: expected one of {', '.join(map(repr, known))}; got {unknown[0]!r}"
        )
    return tuple(v for v in VARIANTS if not names or v.name in names)


def run(args: AblationOptions) -> None:
    """Prepares, trains, measures, writes."""
    start = time.monotonic()
    grounder = Grounder.from_config(GrounderConfig(args.model, device=args.device))
    scenes = (FIRST_SEED, FIRST_SEED + args.scenes)
    unseen = (FIRST_UNSEEN, FIRST_UNSEEN + args.unseen)
    train = prepare(grounder, *scenes, args.out / "train.pt")
    tested = prepare(grounder, *unseen, args.out / "unseen.pt")
    image_hw = (train.masks.shape[1], train.masks.shape[2])
    device = grounder.lmm.model.device
    train, tested = train.to(device), tested.to(device)
    bench = AblationData(train, tested, grounder.lmm.views(image_hw)[-1], trained_heads(grounder))
    budget = args.budget
    results = run_all(args.variants, bench, budget, args.out)
    start_of_refiner = "from nothing" if budget.scratch else "from the model's own, as from SAM"
    facts = (
        f"Each variant: {budget.steps} steps on {len(train)} phrases in {args.scenes} scenes, seed "
        f"{budget.seed}; measured on {len(tested)} phrases in {args.unseen} unseen scenes (seeds "
        f"from {FIRST_UNSEEN}); the refiner starts {start_of_refiner}."
    )
    about = {
        "model": grounder.model_name,
        "weights": weights_fingerprint(grounder.lmm.model, trained_heads(grounder)),
        "scenes": scenes,
        "unseen": unseen,
        "budget": asdict(budget),
        "torch": torch.__version__,
        "seconds": round(time.monotonic() - start, 1),
    }
    table = markdown(results, facts)
    write_json(results, about, args.out / "ablation.json")
    (args.out / "ablation.md").write_text(table, encoding="utf-8")
    if args.has_plot:
        draw(results, args.out / "ablation.png")
    if args.docs:
        fill_in(args.docs / "training.md", table, "ablation.png" if args.has_plot else "")
        if args.has_plot:
            draw(results, args.docs / "ablation.png")
    print(table)


def run_all(
    variants: Sequence[Variant], bench: AblationData, budget: TrainingBudget, folder: Path
) -> list[VariantResult]:
    """All variants one after another, with one bar for all of them."""
    results = []
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=budget.steps * len(variants))
        for number, variant in enumerate(variants, 1):
            progress.update(task, description=f"{variant.name} ({number}/{len(variants)})")
            results.append(
                run_variant(
                    variant, bench, budget, folder, lambda n: progress.update(task, advance=n)
                )
            )
    return results


if __name__ == "__main__":
    sys.exit(main())
