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

"""Small data in RefCOCO's published format from the saved scenes, a model whose mask decoder knows
nothing yet, and a recipe for both: a step takes a fraction of a second."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_scenes import ROOT, Photo
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.engine.heads.checkpoint import load_heads, save_heads
from flmm_ros.engine.heads.trained import Heads
from training.recipe import Recipe, recipe_from

TRAINED_ON = 4  # photos; the others are for validation


def write_data(root: Path, photos: list[Photo]) -> Path:
    """One object a name, in one expression."""
    refs: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (root / "train2014").mkdir(parents=True)
    for number, photo in enumerate(photos):
        file = f"COCO_train2014_{photo.seed:012d}.jpg"
        Image.fromarray(photo.rgb).save(root / "train2014" / file, quality=95)
        height, width = photo.rgb.shape[:2]
        images.append({"id": photo.seed, "file_name": file, "height": height, "width": width})
        for phrase, mask in zip(photo.phrases, photo.masks.values(), strict=True):
            found = {"id": len(annotations) + 1, "image_id": photo.seed, "category_id": 1}
            annotations.append({**found, "iscrowd": 0, "segmentation": run_lengths(mask)})
            refs.append(
                {
                    "ref_id": len(refs),
                    "ann_id": found["id"],
                    "image_id": photo.seed,
                    "category_id": 1,
                    "file_name": file,
                    "split": "train" if number < TRAINED_ON else "val",
                    "sent_ids": [len(refs)],
                    "sentences": [
                        {
                            "sent_id": len(refs),
                            "raw": phrase,
                            "sent": phrase,
                            "tokens": phrase.split(),
                        }
                    ],
                }
            )
    (root / "refcoco").mkdir()
    (root / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    document = {"images": images, "annotations": annotations, "categories": []}
    (root / "refcoco" / "instances.json").write_text(json.dumps(document))
    return root


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's list of counts: down the columns, beginning with background."""
    flat = np.concatenate([[False], mask.T.ravel()])
    ends = np.flatnonzero(np.diff(flat))
    return {"size": list(mask.shape), "counts": np.diff([0, *ends, mask.size]).tolist()}


def write_model(directory: Path) -> Path:
    """The embedded language model and refiner with a new mask decoder."""
    trained = load_heads(ROOT / "models" / "tabletop" / "heads.safetensors")
    torch.manual_seed(9)
    heads = Heads.create(trained.lmm, trained.config)
    heads.mask_refiner.load_state_dict(trained.mask_refiner.state_dict())
    save_heads(directory / "heads.safetensors", heads, {"made": "by a test"})
    lmm = ROOT / "models" / "tabletop" / "lmm"
    (directory / "model.yaml").write_text(
        f"name: small\nfamily: llava\nlmm: {lmm}\nheads: heads.safetensors\nscore_threshold: 0.0\n"
    )
    return directory


def recipe(model_dir: Path, data_root: Path, out: Path, **more: Any) -> Recipe:
    """A recipe for both; `more` replaces lines."""
    lines = {
        "model": str(model_dir),
        "start": "model",
        "data_root": str(data_root),
        "data": ["refcoco:train"],
        "validation": ["refcoco:val"],
        "batch": 4,
        "epochs": 24,
        "max_phrases": 3,
        "peak_rate": 3e-3,
        "workers": 0,
        "save_every": 12,
        "keep": 9,
        "validate_every": 24,
        "validate_count": 2,
        "picture_every": 0,
        "tensorboard": False,
        "out": str(out),
    }
    return recipe_from({**lines, **more})
