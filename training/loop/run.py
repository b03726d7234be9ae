"""A run and its memory: what changes while it goes on, how that is kept, and how it comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from flmm_ros.engine.errors import FlmmError
from training.heads.objective import LossWeights, Objective
from training.loop.assembly import TrainingParts, accelerator_of, assemble
from training.loop.checkpoints import (
    Checkpoint,
    clear_unfinished,
    newest,
    restore_rng_states,
    rng_states_now,
    write,
)
from training.loop.order import SampleOrder
from training.loop.schedule import AveragedWeights, rate_at
from training.recipe import Recipe


@dataclass
class TrainingRun:
    """Everything that changes while a run goes on, and what it runs on.

    objective: prepared, on this process's device. done: steps. best: the highest measure of the
    validation data, of step best_step. asked: a signal asked this process to end; stop: all
    processes agreed to, after this step.
    left_out: broken samples by name, and what is wrong with them.
    """

    recipe: Recipe
    accelerator: Any
    parts: TrainingParts
    objective: Any
    optimizer: Any
    order: SampleOrder
    steps: int
    average: AveragedWeights | None
    done: int = 0
    best: float = -1.0
    best_step: int = 0
    asked: bool = False
    stop: bool = False
    measured: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

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


def prepare(recipe: Recipe) -> TrainingRun:
    """Puts a run together; nothing is trained yet."""
    accelerator = accelerator_of(recipe)
    parts = assemble(recipe, accelerator.device)
    weights = LossWeights(
        recipe.coarse_weight, recipe.refined_weight, recipe.score_weight, recipe.selector_weight
    )
    on_gpu = accelerator.device.type != "cpu"
    bfloat16 = recipe.precision == "bf16" or (recipe.precision == "auto" and on_gpu)
    objective = Objective(parts.heads, weights, bfloat16=bfloat16)
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, recipe.peak_rate, betas=(0.9, 0.999), weight_decay=recipe.weight_decay
    )
    # The data is shared out by Order, not by accelerate: the same for any number of processes.
    objective, optimizer = accelerator.prepare(objective, optimizer)
    order = SampleOrder(
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
    run = TrainingRun(recipe, accelerator, parts, objective, optimizer, order, steps, None)
    if recipe.ema:
        run.average = AveragedWeights(run.bare, recipe.ema)
    return run


def rate_of(run: TrainingRun, number: int) -> float:
    """The learning rate of a step, counted from 0."""
    recipe = run.recipe
    return rate_at(number, run.steps, peak=recipe.peak_rate, warmup=recipe.warmup)


@contextlib.contextmanager
def measured_weights(run: TrainingRun) -> Iterator[None]:
    """The heads as they are used: the averaged weights where there are such, and nothing that only
    training does."""
    with run.average.used_by(run.bare) if run.average else contextlib.nullcontext():
        run.bare.eval()
        try:
            yield
        finally:
            run.bare.train()


def save(run: TrainingRun) -> None:
    """A checkpoint of all processes; the first one writes it."""
    from accelerate.utils import gather_object

    rng_states = gather_object([rng_states_now()])
    for found in gather_object([run.left_out]):
        run.left_out.update(found)
    if run.accelerator.is_main_process:
        trained: dict[str, torch.Tensor] = dict(run.bare.named_buffers())
        trained |= {n: p for n, p in run.bare.named_parameters() if p.requires_grad}
        average = run.average.average if run.average else {}
        state = {
            "optimizer": run.optimizer.state_dict(),
            "updates": run.average.updates if run.average else 0,
            "best": run.best,
            "best_step": run.best_step,
            "measured": run.measured,
            "left_out": run.left_out,
            "order": dataclasses.asdict(dataclasses.replace(run.order, rank=0)),
        }
        write(
            run.checkpoints,
            Checkpoint(run.done, trained, average, state, rng_states),
            run.recipe.keep,
        )
    run.accelerator.wait_for_everyone()


def resume(run: TrainingRun) -> None:
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
    parameters = {**dict(run.bare.named_parameters()), **dict(run.bare.named_buffers())}
    with torch.no_grad():
        for name, value in found.weights.items():
            parameters[name].copy_(value)
    run.optimizer.load_state_dict(found.state["optimizer"])
    if run.average is not None:
        run.average.restore(found.state["updates"], found.averaged)
    restore_rng_states(found.rng_states[run.accelerator.process_index])
    run.done, run.measured = found.step, dict(found.state["measured"])
    run.left_out = dict(found.state["left_out"])
    run.best, run.best_step = found.state["best"], found.state["best_step"]


@contextlib.contextmanager
def stopped_by_signal(run: TrainingRun) -> Iterator[None]:
    """SIGTERM, as a cluster sends it before it takes a machine back, ends the run after a step."""

    def ask(*_: object) -> None:
        run.asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
