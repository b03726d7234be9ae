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

"""Writes the embedded model in the form every model has: a Hugging Face directory, heads,
model.yaml.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import torch
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from flmm_ros.engine.lmm.families.llava import PixelRule

MODEL_YAML = """\
# The embedded model: knows a tabletop with coloured objects, nothing else. See README.md here.
name: tabletop
family: llava
lmm: lmm
heads: heads.safetensors
merge: mean
score: iou_head
score_threshold: 0.5
"""


def save_lmm(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    pixels: PixelRule,
    directory: Path,
) -> None:
    """Weights in fp16, tokenizer and pre-processing settings."""
    stored = copy.deepcopy(model).to(torch.float16)
    stored.generation_config.eos_token_id = tokenizer.eos_token_id
    stored.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "image_mean": list(pixels.mean),
        "image_std": list(pixels.std),
        "rescale_factor": pixels.scale,
        "resample": 3,
        "size": {"shortest_edge": model.config.vision_config.image_size},
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def write_model(run: Path, directory: Path) -> None:
    """The model directory from a run's `lmm/` and `heads.safetensors`; the card is kept if
    there."""
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(run / "lmm", directory / "lmm", dirs_exist_ok=True)
    shutil.copy2(run / "heads.safetensors", directory / "heads.safetensors")
    (directory / "model.yaml").write_text(MODEL_YAML, encoding="utf-8")
    records = {
        stage: json.loads((run / f"{stage}.json").read_text())
        for stage in ("tower", "lmm", "sight", "heads")
        if (run / f"{stage}.json").exists()
    }
    (directory / "training.json").write_text(json.dumps(records, indent=1) + "\n")
