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

"""One model: a YAML file of about fifteen lines beside its weights, or pointing to them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flmm_ros.engine.config.schema import build, check, setting
from flmm_ros.engine.config.yaml_file import read_yaml
from flmm_ros.engine.errors import ConfigError

TRAINING_FREE = "training_free"  # in the place of a head file


@dataclass(frozen=True)
class ModelConfig:
    """One model: which language model, which heads, and how to talk to it."""

    name: str = setting("", "Name of the model in logs and messages.")
    family: str = setting("llava", "LMM family, a file of flmm_ros/engine/lmm.")
    lmm: str = setting("", "Language model: a directory relative to this file, or a hub id.")
    revision: str = setting("main", "Revision of a hub id.")
    heads: str = setting(
        "",
        "Heads: our .safetensors, an official F-LMM .pth, or training_free (a few localisation "
        "heads of the language model itself).",
    )
    localisation: str = setting(
        "localisation.json", "For training_free: which heads, a file beside this one."
    )
    sam: str = setting("", "segment-anything checkpoint, for official and training-free heads.")
    merge: str = setting("mean", "How a phrase's tokens are merged.", choices=("mean", "max"))
    reading: str = setting(
        "apart",
        "How several phrases are read. apart: each as the only answer to the prompt, all in one "
        "forward, so that no result depends on the other phrases. joined: as one answer, as the "
        "original does for RefCOCO; later phrases then know the earlier ones.",
        choices=("apart", "joined"),
    )
    prompt: str = setting(
        "Please give me a description of the image.", "What the phrases answer when they are read."
    )
    template: str = setting(
        "USER: <image>\n{text} ASSISTANT:", "Chat template; {text} is the command or the prompt."
    )
    next_turn: str = setting(
        "</s>USER: {text} ASSISTANT:",
        "What stands between an answer and the answer to the next command of a conversation.",
    )
    phrases: str = setting(
        "auto",
        "What finds the phrases of an answer. selector: the one trained with the heads; rules: "
        "English grammar; auto: the selector where the heads have one.",
        choices=("auto", "selector", "rules"),
    )
    score: str = setting(
        "iou_head",
        "Score of an object. iou_head: the predicted IoU, where it was trained (the embedded "
        "model's is calibrated to the probability that the IoU is above 0.5). mask_confidence: the "
        "mean probability inside the mask, for official heads, whose IoU head never was.",
        choices=("iou_head", "mask_confidence"),
    )
    score_threshold: float = setting(
        0.5, "Objects with a lower score are reported absent.", bounds=(0.0, 1.0)
    )
    max_image_tokens: int = setting(
        3000,
        "Most tokens of one image, where their number grows with the image (Qwen-VL): the model "
        "sees a larger image shrunk, masks keep its size. Other families have a fixed limit, "
        "which the packaged model files name for the memory check.",
        bounds=(16, 100_000),
    )

    def __post_init__(self) -> None:
        check(self)
        for key in ("lmm", "heads"):
            if not getattr(self, key):
                raise ConfigError(f"model {self.name!r}: expected a value for {key!r}, got none")


def load_model_config(path: str | Path) -> ModelConfig:
    """Reads a model file; relative paths in it are relative to it.

    Raises:
        ConfigError: missing file, broken YAML, unknown key, wrong value.
    """
    path = Path(path)
    content = read_yaml(path)
    content.setdefault("name", path.parent.name if path.stem == "model" else path.stem)
    config = build(ModelConfig, content, str(path))
    located: dict[str, Any] = {
        key: _located(path.parent, getattr(config, key), is_hub=key == "lmm")
        for key in ("lmm", "heads", "localisation", "sam")
        if getattr(config, key) not in ("", TRAINING_FREE)
    }
    return dataclasses.replace(config, **located)


def _located(base: Path, value: str, *, is_hub: bool) -> str:
    """A path relative to the model file made absolute; a hub id ("owner/name") left alone."""
    path = Path(value).expanduser()
    absolute = path if path.is_absolute() else base / path
    if is_hub and not absolute.exists() and value.count("/") == 1 and not value.startswith("."):
        return value
    return str(absolute)
