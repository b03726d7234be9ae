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

"""Checkpoints of a stage: those of the training loop, with one kept and the schedule along."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.fingerprint import differences
from training.loop.checkpoints import (
    Checkpoint,
    clear_unfinished,
    keep_damaged_aside,
    newest,
    write,
)

log = logging.getLogger(__name__)


def save(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    step: int,
    made_with: Mapping[str, Any],
) -> None:
    """Writes everything the stage needs to go on after `step` steps.

    made_with: plain values; a stage goes on only where they are the same.
    """
    state = {
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "made_with": dict(made_with),
    }
    write(folder, Checkpoint(step, model.state_dict(), {}, state, ()), keep=1)


def resume(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    made_with: Mapping[str, Any],
) -> int:
    """Restores a stage in place and returns the step to go on with; 0 where there is no
    checkpoint.

    Raises:
        CheckpointError: it was begun with other settings.
    """
    clear_unfinished(folder)
    for path in keep_damaged_aside(folder):
        log.warning("%s: not whole, kept under this name", path)
    found = newest(folder)
    if found is None:
        return 0
    before = found.state["made_with"]
    if changed := differences(before, made_with):
        values = "; ".join(f"{k}: was {before.get(k)!r}, is {made_with[k]!r}" for k in changed)
        raise CheckpointError(
            f"{folder}: expected a checkpoint of the same settings, got others ({values}); remove "
            "the folder to begin anew, or give another --out"
        )
    model.load_state_dict(found.weights)
    optimizer.load_state_dict(found.state["optimizer"])
    schedule.load_state_dict(found.state["schedule"])
    log.info("resuming at step %d", found.step)
    return found.step
