"""What a run leaves behind: head files with their provenance, and a model file beside them."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.heads.checkpoint import save_heads
from flmm_ros.engine.heads.trained import Heads
from training.recipe import Recipe, as_text

BEST, LAST = "heads_best.safetensors", "heads_last.safetensors"


def write_heads(
    heads: Heads, recipe: Recipe, name: str, step: int, measured: Mapping[str, float]
) -> Path:
    """Our own head file, whole or not at all."""
    folder = Path(recipe.out)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".unfinished-{name}"
    provenance = {
        "made": "python -m training.train",
        "recipe": as_text(recipe),
        "steps": str(step),
        "validation": json.dumps(dict(measured)),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    save_heads(unfinished, heads, provenance)
    return unfinished.replace(folder / name)


def write_model_file(recipe: Recipe, model: ModelConfig, heads: str) -> Path:
    """A model file for a grounder: the same language model with the new heads."""
    score = "iou_head" if recipe.score_weight > 0 else "mask_confidence"
    content = dataclasses.asdict(
        dataclasses.replace(model, heads=heads, sam="", score=score, phrases="auto")
    )
    path = Path(recipe.out) / "model.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path
