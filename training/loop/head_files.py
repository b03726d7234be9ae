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

"""What a run leaves behind: head files with their provenance, and a model file beside them."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.heads.checkpoint import save_heads
from flmm_ros.engine.heads.trained import Heads
from training.disk import DiskError, writing
from training.recipe import Recipe, as_text

BEST, LAST = "heads_best.safetensors", "heads_last.safetensors"


@dataclass(frozen=True)
class Provenance:
    """What heads were made with: recipe, steps, what was measured, and the settings that were
    changed on the way."""

    recipe: Recipe
    steps: int
    measured: Mapping[str, float]
    changes: Sequence[str] = ()


def write_heads(heads: Heads, made: Provenance, name: str) -> Path:
    """Our own head file, whole or not at all.

    Raises:
        DiskError: it cannot be written.
    """
    folder = Path(made.recipe.out)
    unfinished = folder / f".unfinished-{name}"
    provenance = {
        "made": "python -m training.train",
        "recipe": as_text(made.recipe),
        "steps": str(made.steps),
        "validation": json.dumps(dict(made.measured)),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    if made.changes:
        provenance["changes"] = "; ".join(made.changes)
    try:
        with writing(folder / name):
            folder.mkdir(parents=True, exist_ok=True)
            save_heads(unfinished, heads, provenance)
            return unfinished.replace(folder / name)
    except DiskError:
        unfinished.unlink(missing_ok=True)
        raise


def write_model_file(recipe: Recipe, model: ModelConfig, heads: str) -> Path:
    """A model file for a grounder: the same language model with the new heads."""
    score = "iou_head" if recipe.score_weight > 0 else "mask_confidence"
    content = dataclasses.asdict(
        dataclasses.replace(model, heads=heads, sam="", score=score, phrases="auto")
    )
    path = Path(recipe.out) / "model.yaml"
    with writing(path):
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), "utf-8")
    return path
