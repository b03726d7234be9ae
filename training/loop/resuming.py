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

"""Which runs may go on from a checkpoint: the same samples a step, and the same recipe.

A setting that decides numbers may only differ where the recipe's `allow_changed` names it; the
change is kept in the checkpoint and in the provenance of the heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flmm_ros.engine.config.schema import to_mapping
from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.fingerprint import differences
from training.data.fingerprint import data_fingerprint
from training.loop.order import SampleOrder
from training.recipe import Recipe

# Settings that change no number of a run. batch and accumulate: the samples a step are compared.
FREE = {
    *("allow_changed", "out", "data_root", "device", "download", "workers", "lmm_sharding"),
    *("batch", "accumulate", "save_every", "keep", "picture_every", "tensorboard", "wandb"),
    *("push_to_hub",),
}


def require_same_samples(folder: Path, order: SampleOrder, before: Mapping[str, Any]) -> None:
    """Refuses a checkpoint of another number of samples, or samples a step.

    Raises:
        CheckpointError: says what to change.
    """
    was = {"count": before["count"], "seed": before["seed"], "samples_a_step": _a_step(before)}
    now = order.identity
    if was != now:
        raise CheckpointError(
            f"{folder}: expected a checkpoint of the same data and number of samples a step {now}, "
            f"got {was}; make batch x accumulate x processes {was['samples_a_step']} (now "
            f"{order.batch} x {order.accumulate} x {order.processes}), or choose another folder "
            "with out=FOLDER"
        )


def allowed_changes(folder: Path, step: int, recipe: Recipe, before: str) -> list[str]:
    """The settings that differ from those of a checkpoint, as texts for the provenance.

    before: the checkpoint's recipe as YAML.

    Raises:
        CheckpointError: one that decides numbers differs and is not in `allow_changed`.
    """
    old, new = yaml.safe_load(before), to_mapping(recipe)
    differing = [k for k in new if k in old and k not in FREE and old[k] != new[k]]
    refused = [key for key in differing if key not in recipe.allow_changed]
    if refused:
        values = "; ".join(f"{k}: was {old[k]!r}, is {new[k]!r}" for k in refused)
        raise CheckpointError(
            f"{folder}: expected the recipe of the checkpoint of step {step}, got other settings "
            f"({values}); go on with them by allow_changed=[{','.join(refused)}], which the heads' "
            "provenance keeps, or choose another folder with out=FOLDER"
        )
    return [f"after step {step}: {k} {old[k]!r} -> {new[k]!r}" for k in differing]


def annotations_of(recipe: Recipe) -> dict[str, str]:
    """What a recipe's annotations are, as a checkpoint keeps it."""
    found: dict[str, str] = {}
    for name in recipe.data:
        title, _, rest = name.partition(":")
        split = rest.partition(":")[0]
        found |= data_fingerprint(title, Path(recipe.data_root), split, with_photos=False)
    return found


def changed_annotations(
    folder: Path, recipe: Recipe, now: Mapping[str, str], before: Mapping[str, str]
) -> list[str]:
    """The annotations that were changed since a checkpoint, as texts for the provenance.

    Raises:
        CheckpointError: they differ, and `allow_changed` does not name `data`.
    """
    changed = differences(before, now)
    if changed and "data" not in recipe.allow_changed:
        raise CheckpointError(
            f"{folder}: expected the annotations that the run began with, got others: "
            f"{', '.join(changed)}; go on with them by allow_changed=[data], or choose another "
            "folder with out=FOLDER"
        )
    return [f"{name} changed" for name in changed]


def _a_step(before: Mapping[str, Any]) -> int:
    """Samples a step; checkpoints of earlier versions hold its factors."""
    if "samples_a_step" in before:
        return int(before["samples_a_step"])
    return int(before["batch"] * before["accumulate"] * before["processes"])
