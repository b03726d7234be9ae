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

"""Trains heads on a frozen language model, on one GPU or many.

    python -m training.train config/training/refcoco_png.yaml model=llava_1_5_7b
    torchrun --nproc-per-node 8 -m training.train config/training/refcoco_png.yaml
    accelerate launch -m training.train config/training/refcoco_png.yaml

Top to bottom: put together, go on from the newest checkpoint, step by step, write the heads. A run
that was killed at any time goes on exactly where its newest checkpoint stands; started again, it is
the same command.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console

from flmm_ros.cli.command_line import run_command
from flmm_ros.cli.plain_console import plain_console
from flmm_ros.engine.errors import FlmmError
from training.data.sample import load_rgb
from training.disk import free_text, size_text
from training.features.readings import SampleReading, SampleTruth
from training.features.ready_samples import ReadySample, ready_loader, ready_on
from training.heads.objective import HeadsOutput
from training.loop.head_files import BEST, LAST, Provenance, write_heads, write_model_file
from training.loop.hub import push
from training.loop.monitor import Monitor
from training.loop.order import StepRange
from training.loop.pictures import sheet
from training.loop.report import PaceReport, beginning, progress_bar
from training.loop.run import (
    TrainingRun,
    agree_to_stop,
    measured_weights,
    prepare,
    resume,
    save,
    stopped_by_signal,
)
from training.loop.validation import ValidationSums, spread
from training.recipe import Recipe, RecipeArgument, RecipeSettings, load_recipe

log = logging.getLogger(__name__)
NAMED = 10  # broken samples, at the end
CHOSEN_BY = "cIoU"  # of the validation data, the best step


def train(recipe: Recipe, console: Console | None = None) -> dict[str, float]:
    """Runs a recipe to its end and returns what the last validation measured.

    Raises:
        FlmmError: files that are missing or wrong, found before the first step where possible.
    """
    console = console or plain_console(stderr=True)
    run = prepare(recipe)
    main = run.accelerator.is_main_process
    resume(run)
    if main:
        begin(run, console)
    monitor = _monitor(run) if main else None
    pace = PaceReport(console, run.device, run.order.samples_a_step)
    with (
        stopped_by_signal(run),
        progress_bar(console, "training", run.done, run.steps, shown=main) as tell,
    ):
        if run.validation_due:  # the run was stopped before it
            validate(run, monitor)
            save(run)
        for batches, waited_s in () if run.stop else forwards(run):
            losses, shown = step(run, batches)
            run.done += 1
            tell(run.done, f"loss {losses['total']:.4f}")
            if monitor is not None:
                pace.step(run.steps - run.done, waited_s)
                monitor.numbers(run.done, "train", {**losses, "rate": run.rate(run.done - 1)})
                if _due(run, recipe.picture_every):
                    draw(monitor, run.done, *shown)
            is_last = run.done == run.steps
            run.validation_due = len(run.parts.validation) > 0 and (
                is_last or _due(run, recipe.validate_every)
            )
            if run.validation_due and not run.stop:
                validate(run, monitor)
            if _due(run, recipe.save_every) or is_last or run.stop:
                save(run)
            if run.stop:
                break
    if monitor is not None:
        finish(run, console)
        monitor.close()
    run.accelerator.wait_for_everyone()
    run.accelerator.end_training()
    return run.measured


def begin(run: TrainingRun, console: Console) -> None:
    """Says what is trained, and what it needs."""
    if run.done:
        console.print(f"going on after step {run.done} of {run.steps}")
    for change in run.changes:
        console.print(f"changed: {change}")
    lmm = run.parts.reader.lmm.model if run.parts.reader else None
    averaged = run.average is not None
    beginning(console, run.bare.heads, lmm, run.order, run.steps, averaged=averaged)
    kept, one = run.recipe.keep + 1, size_text(run.checkpoint_bytes)
    console.print(
        f"checkpoints: {one} each, room for {kept} is needed; free in {run.recipe.out}: "
        f"{free_text(run.checkpoints)}"
    )


def forwards(run: TrainingRun) -> Iterator[tuple[list[list[ReadySample]], float]]:
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


Shown = tuple[ReadySample, SampleReading, SampleTruth, HeadsOutput]


def step(run: TrainingRun, batches: Sequence[list[ReadySample]]) -> tuple[dict[str, float], Shown]:
    """One step: losses (means over all processes), and one sample to show."""
    recipe, accelerator = run.recipe, run.accelerator
    for group in run.optimizer.param_groups:
        group["lr"] = run.rate(run.done)
    run.optimizer.zero_grad()
    sums: dict[str, torch.Tensor] = {}
    for n, batch in enumerate(batches):
        readings, truths = inputs(run, batch)
        last = n + 1 == len(batches)
        with contextlib.nullcontext() if last else accelerator.no_sync(run.objective):
            outcome: HeadsOutput = run.objective(readings, truths)
            total = run.bare.total(outcome.losses)
            scaled = total / len(batches)
            accelerator.backward(run.scaler.scale(scaled) if run.scaler else scaled)
        for name, loss in {"total": total, **outcome.losses}.items():
            sums[name] = sums.get(name, 0) + loss.detach() / len(batches)
    optimizer = run.optimizer.optimizer  # torch's own
    if run.scaler is not None:
        run.scaler.unscale_(optimizer)
    if recipe.clip:
        sums["gradient"] = accelerator.clip_grad_norm_(run.objective.parameters(), recipe.clip)
    if run.scaler is None:
        optimizer.step()
    else:  # leaves a step out whose gradients overflow, with a smaller scale for the next
        run.scaler.step(optimizer)
        run.scaler.update()
    if run.average is not None:
        run.average.update(run.bare)
    asked = torch.tensor(float(run.asked), device=run.device)
    told = torch.stack([*(value.float().reshape(()) for value in sums.values()), asked])
    *means, stopping = accelerator.reduce(told, "mean").tolist()
    run.stop = stopping > 0  # one process was asked to stop: all do
    losses = dict(zip(sums, means, strict=True))
    if not math.isfinite(losses["total"]):
        raise FlmmError(
            f"step {run.done + 1}: expected a finite loss, got {losses}; the newest checkpoint is "
            "in " + str(run.checkpoints) + ", try a lower peak_rate or precision=float32"
        )
    return losses, (batch[0], readings[0], truths[0], outcome)


def inputs(
    run: TrainingRun, batch: list[ReadySample]
) -> tuple[list[SampleReading], list[SampleTruth]]:
    """Readings and truths of ready samples, on this process's device."""
    for each in batch:
        for name, reason in each.left_out:
            if name not in run.left_out:
                log.warning("%s is left out, another takes its place: %s", name, reason)
            run.left_out[name] = reason
    return (
        run.parts.readings(batch, run.device),
        [ready_on(each, run.device).truth for each in batch],
    )


@torch.no_grad()
def validate(run: TrainingRun, monitor: Monitor | None) -> None:
    """Measures the heads (their average, where there is one), and keeps them if they are the best.

    Where the run is asked to stop meanwhile, nothing is measured and the validation stays due.
    """
    recipe, rank = run.recipe, run.accelerator.process_index
    processes, samples = run.accelerator.num_processes, run.parts.validation
    mine = spread(len(samples), recipe.validate_count, processes, rank)
    rounds = math.ceil(min(len(samples), recipe.validate_count) / processes / recipe.batch)
    tally = ValidationSums.empty(run.device)
    with measured_weights(run):
        for number in range(rounds):
            if agree_to_stop(run):
                return
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
                write_heads(run.bare.heads, provenance(run), BEST)
        run.validation_due = False
    if monitor is not None:
        monitor.numbers(run.done, "validation", run.measured)


def draw(
    monitor: Monitor,
    number: int,
    ready: ReadySample,
    reading: SampleReading,
    truth: SampleTruth,
    outcome: HeadsOutput,
) -> None:
    """A picture of one sample: attention, predicted masks, true masks."""
    picture = sheet(load_rgb(ready.sample), reading, truth, outcome.refined[0])
    words = "; ".join(truth.words)
    monitor.picture(number, "attention, predicted, true", picture, f"{truth.key}: {words}")


def finish(run: TrainingRun, console: Console) -> None:
    """Writes the heads and a model file that a grounder takes."""
    with measured_weights(run):
        write_heads(run.bare.heads, provenance(run), LAST)
    chosen = BEST if run.best_step else LAST
    path = write_model_file(run.recipe, run.parts.model, chosen)
    if run.left_out:
        names = ", ".join(list(run.left_out)[:NAMED])
        console.print(f"{len(run.left_out)} broken samples were left out: {names}")
    told = {name: round(value, 4) for name, value in run.measured.items()}
    console.print(f"{run.done} of {run.steps} steps; {told or 'nothing was validated'}")
    if run.stop:
        console.print("stopped by a signal, with a checkpoint: start the same command to go on")
    console.print(f"heads: {chosen} of step {run.best_step or run.done}; use them: model={path}")
    if run.recipe.push_to_hub and not run.stop:
        message = f"{run.done} steps, {told}"
        console.print(f"uploaded: {push(Path(run.recipe.out), run.recipe.push_to_hub, message)}")


def provenance(run: TrainingRun) -> Provenance:
    """What the heads were made with, so far."""
    return Provenance(run.recipe, run.done, run.measured, tuple(run.changes))


def _monitor(run: TrainingRun) -> Monitor:
    return Monitor(
        Path(run.recipe.out),
        run.done,
        tensorboard=run.recipe.tensorboard,
        wandb=run.recipe.wandb,
        recipe=dataclasses.asdict(run.recipe),
    )


def _due(run: TrainingRun, every: int) -> bool:
    return every > 0 and run.done % every == 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m training.train`; returns the exit status."""
    return run_command(_train, argv, "python -m training.train")


def _train(
    recipe: RecipeArgument,
    settings: RecipeSettings = [],  # noqa: B006  Typer copies it
) -> None:
    """Train heads on a frozen language model; run it again to go on after an interruption."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    train(load_recipe(recipe, settings))


if __name__ == "__main__":
    sys.exit(main())
