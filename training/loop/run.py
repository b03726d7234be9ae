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

"""A run and its memory: what changes while it goes on, how that is kept, and how it comes back."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from flmm_ros.engine.errors import CheckpointError
from training.disk import require_room, require_writable
from training.heads.objective import LossWeights, Objective
from training.loop.assembly import TrainingParts, accelerator_of, assemble
from training.loop.checkpoints import (
    Checkpoint,
    clear_unfinished,
    keep_damaged_aside,
    newest,
    restore_rng_states,
    rng_states_now,
    write,
)
from training.loop.hub import require_login
from training.loop.monitor import require_trackers
from training.loop.order import SampleOrder
from training.loop.resuming import (
    allowed_changes,
    annotations_of,
    changed_annotations,
    require_same_samples,
)
from training.loop.schedule import AveragedWeights, rate_schedule
from training.recipe import Recipe, as_text

log = logging.getLogger(__name__)


@dataclass
class TrainingRun:
    """Everything that changes while a run goes on, and what it runs on.

    objective: prepared, on this process's device. done: steps. best: the highest measure of the
    validation data, of step best_step. asked: a signal asked this process to end; stop: all
    processes agreed to, after this step.
    left_out: broken samples by name, and what is wrong with them. changes: settings that were
    changed, as allowed, when the run went on. annotations: what the data was, in the first process.
    validation_due: after this step, but not measured yet. rate: the learning rate of a step,
    counted from 0. scaler: of losses in float16.
    """

    recipe: Recipe
    accelerator: Any
    parts: TrainingParts
    objective: Any
    optimizer: Any
    order: SampleOrder
    steps: int
    rate: Callable[[int], float]
    average: AveragedWeights | None = None
    scaler: torch.amp.GradScaler | None = None
    validation_due: bool = False
    done: int = 0
    best: float = -1.0
    best_step: int = 0
    asked: bool = False
    stop: bool = False
    measured: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)

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

    def trained_tensors(self) -> dict[str, torch.Tensor]:
        """Weights that are trained, and buffers, by name."""
        found: dict[str, torch.Tensor] = dict(self.bare.named_buffers())
        return found | {n: p for n, p in self.bare.named_parameters() if p.requires_grad}

    @property
    def checkpoint_bytes(self) -> int:
        """Of one checkpoint: weights, AdamW's two averages and the averaged weights, in float32."""
        trained = sum(p.numel() for p in self.bare.parameters() if p.requires_grad)
        return 4 * trained * (3 + (self.average is not None))

    @property
    def checkpoints(self) -> Path:
        """Their folder."""
        return Path(self.recipe.out) / "checkpoints"


def prepare(recipe: Recipe) -> TrainingRun:
    """Puts a run together; nothing is trained yet. What cannot be written is said before a model
    is loaded.

    Raises:
        FlmmError: files that are missing, a folder that cannot be written, too little room.
    """
    require_writable(Path(recipe.out))
    require_trackers(recipe)
    if recipe.push_to_hub:
        require_login(recipe.push_to_hub)
    accelerator = accelerator_of(recipe)
    parts = assemble(recipe, accelerator.device)
    weights = LossWeights(
        recipe.coarse_weight, recipe.refined_weight, recipe.score_weight, recipe.selector_weight
    )
    dtype = heads_dtype(recipe.precision, accelerator.device)
    objective = Objective(parts.heads, weights, dtype=dtype)
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, recipe.peak_rate, betas=(0.9, 0.999), weight_decay=recipe.weight_decay
    )
    # The data is shared out by SampleOrder, not by accelerate: the same for any number of
    # processes.
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
    rate = rate_schedule(optimizer, steps, peak=recipe.peak_rate, warmup=recipe.warmup)
    objective, optimizer = accelerator.prepare(objective, optimizer)
    run = TrainingRun(recipe, accelerator, parts, objective, optimizer, order, steps, rate)
    if recipe.ema:
        run.average = AveragedWeights(run.bare, recipe.ema)
    if dtype == torch.float16:
        run.scaler = torch.amp.GradScaler(accelerator.device.type)
    if accelerator.is_main_process:
        there = sum(p.stat().st_size for p in run.checkpoints.glob("step-*/*"))
        run.annotations = annotations_of(recipe)
        most = run.checkpoint_bytes * (recipe.keep + 1)
        require_room(run.checkpoints, max(0, most - there), f"{recipe.keep + 1} checkpoints")
    return run


def heads_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What the heads compute with: a recipe's `precision`."""
    if precision == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}[precision]


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
        state = {
            "optimizer": run.optimizer.state_dict(),
            "updates": run.average.updates if run.average else 0,
            "best": run.best,
            "best_step": run.best_step,
            "measured": run.measured,
            "left_out": run.left_out,
            "order": run.order.identity,
            "recipe": as_text(run.recipe),
            "changes": list(run.changes),
            "annotations": run.annotations,
            "validation_due": run.validation_due,
            "scaler": run.scaler.state_dict() if run.scaler else {},
        }
        average = run.average.average if run.average else {}
        write(
            run.checkpoints,
            Checkpoint(run.done, run.trained_tensors(), average, state, rng_states),
            run.recipe.keep,
        )
    run.accelerator.wait_for_everyone()


def resume(run: TrainingRun) -> None:
    """Goes on from the newest checkpoint, where there is one, with any number of processes.

    Raises:
        CheckpointError: it belongs to a run with other data, another number of samples a step, or
            other settings than `allow_changed` names.
    """
    if run.accelerator.is_main_process:
        clear_unfinished(run.checkpoints)
        for path in keep_damaged_aside(run.checkpoints):
            log.warning("%s: not whole, kept under this name; the one before is taken", path)
    run.accelerator.wait_for_everyone()
    found = newest(run.checkpoints)
    if found is None:
        return
    state = found.state
    require_same_samples(run.checkpoints, run.order, state["order"])
    run.changes = [*state.get("changes", [])]
    if run.accelerator.is_main_process and "annotations" in state:
        run.changes += changed_annotations(
            run.checkpoints, run.recipe, run.annotations, state["annotations"]
        )
    if "recipe" in state:
        run.changes += allowed_changes(run.checkpoints, found.step, run.recipe, state["recipe"])
    _load_weights(run, found)
    run.optimizer.load_state_dict(state["optimizer"])
    if run.average is not None and found.averaged:
        run.average.restore(state["updates"], found.averaged)
    if run.scaler is not None and state.get("scaler"):
        run.scaler.load_state_dict(state["scaler"])
    rank = run.accelerator.process_index
    if rank < len(found.rng_states):
        restore_rng_states(found.rng_states[rank])
    else:  # there are more processes than before
        torch.manual_seed(run.recipe.seed + found.step * run.accelerator.num_processes + rank)
    run.done, run.measured = found.step, dict(state["measured"])
    run.left_out = dict(state["left_out"])
    run.best, run.best_step = state["best"], state["best_step"]
    run.validation_due = bool(state.get("validation_due", False))


def _load_weights(run: TrainingRun, found: Checkpoint) -> None:
    own = run.trained_tensors()
    if own.keys() != found.weights.keys():
        missing, extra = own.keys() - found.weights.keys(), found.weights.keys() - own.keys()
        raise CheckpointError(
            f"{run.checkpoints}: expected the weights that this recipe trains, got {len(missing)} "
            f"fewer and {len(extra)} others ({', '.join(sorted(missing | extra)[:3])}, ...); they "
            "follow from start, encoder and the losses' weights; choose another folder with "
            "out=FOLDER"
        )
    with torch.no_grad():
        for name, value in found.weights.items():
            own[name].copy_(value)


@contextlib.contextmanager
def stopped_by_signal(run: TrainingRun) -> Iterator[None]:
    """SIGTERM, as a cluster sends it before it takes a machine back, or Ctrl-C ends the run after
    a step, with a checkpoint; a second Ctrl-C ends it at once."""

    def ask(number: int, _: object) -> None:
        if run.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        run.asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def agree_to_stop(run: TrainingRun) -> bool:
    """Whether any process was asked to stop; all processes ask at the same point."""
    asked = torch.tensor(float(run.asked), device=run.device)
    run.stop = run.stop or float(run.accelerator.reduce(asked, "sum")) > 0
    return run.stop
