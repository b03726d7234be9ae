"""What each part of the heads is worth: trains small variants with one budget and compares them.

python -m training.ablation --docs docs        # all variants; fills docs/training.md, ablation.png
python -m training.ablation --only "last layer" --steps 50
python -m training.ablation --scenes 8 --unseen 4 --steps 3 --out out/try   # does it run?

Goes on where it was cut off. Scores are measured on scenes that no training saw.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError, FlmmError
from flmm_ros.engine.grounder import Grounder
from training.ablation.prepared import prepare, trained_heads
from training.ablation.report import draw, fill_in, markdown, write_json
from training.ablation.runs import Bench, Budget, Result, run_variant
from training.ablation.variants import VARIANTS, Variant
from training.evaluation.fingerprint import fingerprint

log = logging.getLogger("training.ablation")
FIRST_SEED, FIRST_UNSEEN = 0, 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        run(args)
    except FlmmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """All options."""
    parser = argparse.ArgumentParser(
        description="Train small variants of the heads with one budget and compare them.",
        epilog="Variants: " + ", ".join(v.name for v in VARIANTS),
    )
    parser.add_argument("--model", default="tabletop", help="model name, YAML or directory")
    parser.add_argument("--out", type=Path, default=Path("out/ablation"), help="working directory")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="also fill DIR/training.md")
    parser.add_argument("--scenes", type=at_least_one, default=800, help="training scenes")
    parser.add_argument("--unseen", type=at_least_one, default=200, help="scenes to measure on")
    parser.add_argument("--steps", type=at_least_one, default=300, help="of every variant")
    parser.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--scratch",
        action="store_true",
        help="SAM's prompt encoder and mask decoder start from nothing, too",
    )
    parser.add_argument(
        "--only", action="append", metavar="VARIANT", help="only this one; may be repeated"
    )
    parser.add_argument("--no-plot", action="store_true", help="do without matplotlib")
    return parser


def at_least_one(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def chosen(names: Sequence[str] | None) -> tuple[Variant, ...]:
    """The variants of these names; all for None.

    Raises:
        ConfigError: a name that is none.
    """
    known = {v.name: v for v in VARIANTS}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(
            f"--only: expected one of {', '.join(map(repr, known))}; got {unknown[0]!r}"
        )
    return tuple(v for v in VARIANTS if names is None or v.name in names)


def run(args: argparse.Namespace) -> None:
    """Prepares, trains, measures, writes."""
    start = time.monotonic()
    variants = chosen(args.only)
    grounder = Grounder.from_config(GrounderConfig(args.model, device=args.device))
    scenes = (FIRST_SEED, FIRST_SEED + args.scenes)
    unseen = (FIRST_UNSEEN, FIRST_UNSEEN + args.unseen)
    train = prepare(grounder, *scenes, args.out / "train.pt")
    tested = prepare(grounder, *unseen, args.out / "unseen.pt")
    image_hw = (train.masks.shape[1], train.masks.shape[2])
    device = grounder.lmm.model.device
    train, tested = train.to(device), tested.to(device)
    bench = Bench(train, tested, grounder.lmm.views(image_hw)[-1], trained_heads(grounder))
    budget = Budget(args.steps, args.seed, args.rate, args.scratch)
    results = run_all(variants, bench, budget, args.out)
    start_of_refiner = "from nothing" if args.scratch else "from the model's own, as from SAM"
    facts = (
        f"Each variant: {args.steps} steps on {len(train)} phrases in {args.scenes} scenes, seed "
        f"{args.seed}; measured on {len(tested)} phrases in {args.unseen} unseen scenes (seeds "
        f"from {FIRST_UNSEEN}); the refiner starts {start_of_refiner}."
    )
    about = {
        "model": grounder.model_name,
        "weights": fingerprint(grounder.lmm.model, trained_heads(grounder)),
        "scenes": scenes,
        "unseen": unseen,
        "budget": asdict(budget),
        "torch": torch.__version__,
        "seconds": round(time.monotonic() - start, 1),
    }
    table = markdown(results, facts)
    write_json(results, about, args.out / "ablation.json")
    (args.out / "ablation.md").write_text(table, encoding="utf-8")
    if not args.no_plot:
        draw(results, args.out / "ablation.png")
    if args.docs:
        fill_in(args.docs / "training.md", table, "" if args.no_plot else "ablation.png")
        if not args.no_plot:
            draw(results, args.docs / "ablation.png")
    print(table)


def run_all(
    variants: Sequence[Variant], bench: Bench, budget: Budget, folder: Path
) -> list[Result]:
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
