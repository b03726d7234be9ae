"""Trains heads on a frozen language model, on one GPU or many.

    python -m training.train config/training/refcoco_png.yaml model=llava_1_5_7b
    torchrun --nproc-per-node 8 -m training.train config/training/refcoco_png.yaml
    accelerate launch -m training.train config/training/refcoco_png.yaml

Top to bottom: put together, go on from the newest checkpoint, step by step, write the heads. A run
that was killed at any time goes on exactly where its newest checkpoint stands; started again, it is
the same command.
Does not know about: how data, models and caches are read.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import logging
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from flmm_ros.engine.types import FlmmError
from training.assembly import Parts, accelerator_of, assemble
from training.checkpoints import (
    Checkpoint,
    chances_now,
    clear_unfinished,
    newest,
    restore_chances,
    write,
)
from training.data.sample import load_rgb
from training.monitor import Monitor
from training.objective import Objective, Outcome, Weights
from training.order import Order, StepRange
from training.outcome import BEST, LAST, write_heads, write_model_file
from training.pictures import sheet
from training.readings import SampleReading, SampleTruth
from training.recipe import Recipe, load_recipe
from training.report import Pace, beginning, progress_bar
from training.samples import Ready, ready_loader, ready_on
from training.schedule import AveragedWeights, rate_at
from training.validation import Tally, spread

log = logging.getLogger(__name__)
CHOSEN_BY = "cIoU"  # of the validation data, the best step


@dataclass
class Run:
    """Everything that changes while a run goes on, and what it runs on.

    objective: prepared, on this process's device. done: steps. best: of CHOSEN_BY, and its step.
    stop: a signal asked to end after this step.
    """

    recipe: Recipe
    accelerator: Any
    parts: Parts
    objective: Any
    optimizer: Any
    order: Order
    steps: int
    average: AveragedWeights | None
    done: int = 0
    best: float = -1.0
    best_step: int = 0
    stop: bool = False
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Of this process."""
        device: torch.device = self.accelerator.device
        return device

    @property
    def bare(self) -> Objective:
        """The objective without what spreads it over processes."""
        bare: Objective = self.accelerator.unwrap_model(self.objective)
        return bare

    @property
    def checkpoints(self) -> Path:
        """Their folder."""
        return Path(self.recipe.out) / "checkpoints"


def train(recipe: Recipe, console: Console | None = None) -> dict[str, float]:
    """Runs a recipe to its end and returns what the last validation measured.

    Raises:
        FlmmError: files that are missing or wrong, found before the first step where possible.
    """
    console = console or Console(stderr=True)
    run = prepare(recipe)
    main = run.accelerator.is_main_process
    resume(run)
    if main:
        if run.done:
            console.print(f"going on after step {run.done} of {run.steps}")
        lmm = run.parts.reader.lmm.model if run.parts.reader else None
        averaged = run.average is not None
        beginning(console, run.bare.heads, lmm, run.order, run.steps, averaged=averaged)
    monitor = _monitor(run) if main else None
    pace = Pace(console, run.device, run.order.samples_a_step)
    with (
        stopped_by_signal(run),
        progress_bar(console, "training", run.done, run.steps, shown=main) as tell,
    ):
        for batches, waited_s in forwards(run):
            losses, shown = step(run, batches)
            run.done += 1
            tell(run.done, f"loss {losses['total']:.4f}")
            if monitor is not None:
                pace.step(run.steps - run.done, waited_s)
                monitor.numbers(run.done, "train", {**losses, "rate": rate_of(run, run.done - 1)})
                if _due(run, recipe.picture_every):
                    draw(monitor, run.done, *shown)
            last = run.done == run.steps or run.stop
            if len(run.parts.validation) and (_due(run, recipe.validate_every) or last):
                validate(run, monitor)
            if _due(run, recipe.save_every) or last:
                save(run)
            if run.stop:
                break
    if monitor is not None:
        finish(run, console)
        monitor.close()
    run.accelerator.wait_for_everyone()
    run.accelerator.end_training()
    return run.measured


def prepare(recipe: Recipe) -> Run:
    """Puts a run together; nothing is trained yet."""
    accelerator = accelerator_of(recipe)
    parts = assemble(recipe, accelerator.device)
    weights = Weights(
        recipe.coarse_weight, recipe.refined_weight, recipe.score_weight, recipe.selector_weight
    )
    objective = Objective(parts.heads, weights)
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, recipe.peak_rate, betas=(0.9, 0.999), weight_decay=recipe.weight_decay
    )
    # The data is shared out by Order, not by accelerate: the same for any number of processes.
    objective, optimizer = accelerator.prepare(objective, optimizer)
    order = Order(
        len(parts.train),
        recipe.batch,
        recipe.accumulate,
        accelerator.num_processes,
        accelerator.process_index,
        recipe.seed,
    )
    steps = recipe.epochs * order.steps_an_epoch
    if recipe.max_steps:
        steps = min(steps, recipe.max_steps)
    run = Run(recipe, accelerator, parts, objective, optimizer, order, steps, None)
    if recipe.ema:
        run.average = AveragedWeights(run.bare, recipe.ema)
    return run


def forwards(run: Run) -> Iterator[tuple[list[list[Ready]], float]]:
    """What this process takes in each step that is left: `accumulate` lists of ready samples, and
    the seconds it waited for them."""
    left = StepRange(run.order, run.done, run.steps)
    batches = iter(ready_loader(run.parts.train, left, run.recipe.workers))
    while True:
        asked = time.perf_counter()
        taken = list(islice(batches, run.order.accumulate))
        if not taken:
            return
        yield taken, time.perf_counter() - asked


Shown = tuple[Ready, SampleReading, SampleTruth, Outcome]


def step(run: Run, batches: Sequence[list[Ready]]) -> tuple[dict[str, float], Shown]:
    """One step: losses (means over all processes), and one sample to show."""
    recipe, accelerator = run.recipe, run.accelerator
    for group in run.optimizer.param_groups:
        group["lr"] = rate_of(run, run.done)
    run.optimizer.zero_grad()
    sums: dict[str, torch.Tensor] = {}
    for n, batch in enumerate(batches):
        readings, truths = inputs(run, batch)
        last = n + 1 == len(batches)
        with contextlib.nullcontext() if last else accelerator.no_sync(run.objective):
            outcome: Outcome = run.objective(readings, truths)
            total = run.bare.total(outcome.losses)
            accelerator.backward(total / len(batches))
        for name, loss in {"total": total, **outcome.losses}.items():
            sums[name] = sums.get(name, 0) + loss.detach() / len(batches)
    if recipe.clip:
        sums["gradient"] = accelerator.clip_grad_norm_(run.objective.parameters(), recipe.clip)
    run.optimizer.step()
    if run.average is not None:
        run.average.update(run.bare)
    stop = torch.tensor(float(run.stop), device=run.device)
    told = torch.stack([*(value.float().reshape(()) for value in sums.values()), stop])
    *means, stopping = accelerator.reduce(told, "mean").tolist()
    run.stop = stopping > 0  # one process was asked to stop: all do
    losses = dict(zip(sums, means, strict=True))
    if not math.isfinite(losses["total"]):
        raise FlmmError(
            f"step {run.done + 1}: expected a finite loss, got {losses}; the newest checkpoint is "
            "in " + str(run.checkpoints) + ", try a lower peak_rate or precision=float32"
        )
    return losses, (batch[0], readings[0], truths[0], outcome)


def inputs(run: Run, batch: list[Ready]) -> tuple[list[SampleReading], list[SampleTruth]]:
    """Readings and truths of ready samples, on this process's device."""
    return (
        run.parts.readings(batch, run.device),
        [ready_on(each, run.device).truth for each in batch],
    )


def rate_of(run: Run, number: int) -> float:
    """The learning rate of a step, counted from 0."""
    recipe = run.recipe
    return rate_at(number, run.steps, peak=recipe.peak_rate, warmup=recipe.warmup)


@torch.no_grad()
def validate(run: Run, monitor: Monitor | None) -> None:
    """Measures the heads (their average, where there is one), and keeps them if they are the
    best."""
    recipe, rank = run.recipe, run.accelerator.process_index
    processes, samples = run.accelerator.num_processes, run.parts.validation
    mine = spread(len(samples), recipe.validate_count, processes, rank)
    rounds = math.ceil(min(len(samples), recipe.validate_count) / processes / recipe.batch)
    tally = Tally.empty(run.device)
    with averaged(run):
        for number in range(rounds):
            part = mine[number * recipe.batch : (number + 1) * recipe.batch]
            # With a sharded language model all processes must read equally often.
            batch = [samples[(0, index)] for index in part or [0]]
            readings, truths = inputs(run, batch)
            outcome = run.bare(readings, truths)
            if part:
                tally.add(outcome, truths)
        tally.sums = run.accelerator.reduce(tally.sums, "sum")
        run.measured = tally.summary()
        if run.measured[CHOSEN_BY] > run.best:
            run.best, run.best_step = run.measured[CHOSEN_BY], run.done
            if run.accelerator.is_main_process:
                write_heads(run.bare.heads, recipe, BEST, run.done, run.measured)
    if monitor is not None:
        monitor.numbers(run.done, "validation", run.measured)


@contextlib.contextmanager
def averaged(run: Run) -> Iterator[None]:
    """The averaged weights in place of the newest, where there are such."""
    with run.average.used_by(run.bare) if run.average else contextlib.nullcontext():
        yield


def draw(
    monitor: Monitor,
    number: int,
    ready: Ready,
    reading: SampleReading,
    truth: SampleTruth,
    outcome: Outcome,
) -> None:
    """A picture of one sample: attention, predicted masks, true masks."""
    picture = sheet(load_rgb(ready.sample), reading, truth, outcome.refined[0])
    words = "; ".join(truth.words)
    monitor.picture(number, "attention, predicted, true", picture, f"{truth.key}: {words}")


def save(run: Run) -> None:
    """A checkpoint of all processes; the first one writes it."""
    from accelerate.utils import gather_object

    chances = gather_object([chances_now()])
    if run.accelerator.is_main_process:
        trained = {n: p for n, p in run.bare.named_parameters() if p.requires_grad}
        average = run.average.average if run.average else {}
        state = {
            "optimizer": run.optimizer.state_dict(),
            "updates": run.average.updates if run.average else 0,
            "best": run.best,
            "best_step": run.best_step,
            "measured": run.measured,
            "order": dataclasses.asdict(dataclasses.replace(run.order, rank=0)),
        }
        write(
            run.checkpoints,
            Checkpoint(run.done, trained, average, state, chances),
            run.recipe.keep,
        )
    run.accelerator.wait_for_everyone()


def resume(run: Run) -> None:
    """Goes on from the newest checkpoint, where there is one.

    Raises:
        FlmmError: it belongs to a run with other data or another number of samples a step.
    """
    if run.accelerator.is_main_process:
        clear_unfinished(run.checkpoints)
    found = newest(run.checkpoints, run.device)
    if found is None:
        return
    own = dataclasses.asdict(dataclasses.replace(run.order, rank=0))
    if own != found.state["order"]:
        raise FlmmError(
            f"{run.checkpoints}: expected a checkpoint of the same data, batch and number of "
            f"processes {own}, got {found.state['order']}; choose another folder with out=FOLDER"
        )
    parameters = dict(run.bare.named_parameters())
    with torch.no_grad():
        for name, value in found.weights.items():
            parameters[name].copy_(value)
    run.optimizer.load_state_dict(found.state["optimizer"])
    if run.average is not None:
        run.average.restore(found.state["updates"], found.averaged)
    restore_chances(found.chances[run.accelerator.process_index])
    run.done, run.measured = found.step, dict(found.state["measured"])
    run.best, run.best_step = found.state["best"], found.state["best_step"]


def finish(run: Run, console: Console) -> None:
    """Writes the heads and a model file that a grounder takes."""
    with averaged(run):
        write_heads(run.bare.heads, run.recipe, LAST, run.done, run.measured)
    chosen = BEST if run.best_step else LAST
    path = write_model_file(run.recipe, run.parts.model, chosen)
    told = {name: round(value, 4) for name, value in run.measured.items()}
    console.print(f"{run.done} of {run.steps} steps; {told or 'nothing was validated'}")
    console.print(f"heads: {chosen} of step {run.best_step or run.done}; use them: model={path}")


@contextlib.contextmanager
def stopped_by_signal(run: Run) -> Iterator[None]:
    """SIGTERM, as a cluster sends it before it takes a machine back, ends the run after a step."""

    def ask(*_: object) -> None:
        run.stop = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _monitor(run: Run) -> Monitor:
    return Monitor(
        Path(run.recipe.out),
        run.done,
        tensorboard=run.recipe.tensorboard,
        wandb=run.recipe.wandb,
        recipe=dataclasses.asdict(run.recipe),
    )


def _due(run: Run, every: int) -> bool:
    return every > 0 and run.done % every == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0, or 1 with a message on what to do."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Trains heads on a frozen language model.",
        epilog="settings: "
        + "; ".join(f"{f.name}: {f.metadata['doc']}" for f in dataclasses.fields(Recipe)),
    )
    parser.add_argument("recipe", help="a file of config/training")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="replaces a line of it")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        train(load_recipe(given.recipe, given.settings))
    except FlmmError as error:
        Console(stderr=True).print(f"[bold]{error.code}[/]: {error}", markup=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
