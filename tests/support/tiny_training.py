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

"""A tiny model, tiny data in published formats and a recipe for them: a step takes milliseconds.

The words are those of the embedded model, so that made data can be read.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, CLIPImageProcessor

from flmm_ros.engine.heads.checkpoint import save_heads
from training.data.make import make
from training.recipe import Recipe, recipe_from

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "engine"))
from tiny_model import SIDE_PX, tiny_heads, tiny_llava  # noqa: E402

SEEDS = range(50, 62)


def write_model(directory: Path) -> Path:
    """A model directory with random heads."""
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "models" / "tabletop" / "lmm")
    model = tiny_llava()
    model.resize_token_embeddings(len(tokenizer))
    torch.manual_seed(9)
    torch.nn.init.normal_(model.get_input_embeddings().weight, std=0.3)
    model.config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    model.save_pretrained(directory / "lmm")
    tokenizer.save_pretrained(directory / "lmm")
    CLIPImageProcessor(size={"shortest_edge": SIDE_PX}).save_pretrained(directory / "lmm")
    save_heads(directory / "heads.safetensors", tiny_heads(), {"made": "by a test"})
    (directory / "model.yaml").write_text(
        "name: tiny\nfamily: llava\nlmm: lmm\nheads: heads.safetensors\nscore_threshold: 0.0\n"
    )
    return directory


def write_data(root: Path) -> Path:
    """RefCOCO and gRefCOCO of a few small scenes."""
    make(root, SEEDS, sets=("refcoco", "grefcoco"), size_px=(64, 48))
    return root


def recipe(model_dir: Path, data_root: Path, out: Path, **more: Any) -> Recipe:
    """A recipe for the tiny model; `more` replaces lines."""
    lines = {
        "model": str(model_dir),
        "start": "model",
        "data_root": str(data_root),
        "data": ["refcoco:train"],
        "validation": ["refcoco:val"],
        "device": "cpu",
        "batch": 2,
        "epochs": 2,
        "max_phrases": 3,
        "peak_rate": 1e-3,
        "workers": 0,
        "save_every": 3,
        "validate_every": 4,
        "validate_count": 2,
        "picture_every": 0,
        "tensorboard": False,
        "out": str(out),
    }
    return recipe_from({**lines, **more})


def free_port() -> int:
    """For processes that meet on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
