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

"""Everything that changes a number changes the fingerprint, and nothing else does."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from flmm_ros.engine import fingerprint as fp
from flmm_ros.engine.config import GrounderConfig, ModelConfig, load_model_config

MODEL_CHANGES = {
    "merge": "max",
    "prompt": "Where is it?",
    "template": "<image>{text}:",
    "next_turn": " {text}:",
    "max_image_tokens": 100,
    "reading": "joined",
    "score": "mask_confidence",
    "phrases": "rules",
    "score_threshold": 0.25,
    "family": "llava_next",
}


@pytest.fixture
def model(model_dir: Path, tmp_path: Path) -> ModelConfig:
    return load_model_config(shutil.copytree(model_dir, tmp_path / "model") / "model.yaml")


@pytest.mark.parametrize("key", MODEL_CHANGES)
def test_every_value_of_a_model_file_counts(model: ModelConfig, key: str) -> None:
    other = dataclasses.replace(model, **{key: MODEL_CHANGES[key]})  # type: ignore[arg-type]
    before, now = fp.model_fingerprint(model), fp.model_fingerprint(other)
    assert fp.differences(before, now) == [f"model.{key}"]
    assert fp.joint_fingerprint(before) != fp.joint_fingerprint(now)


def test_no_value_of_a_model_file_is_forgotten() -> None:
    known = {f.name for f in dataclasses.fields(ModelConfig)}
    assert known == {*MODEL_CHANGES, "name", "lmm", "revision", "heads", "sam", "localisation"}


def test_files_count_by_their_content_and_not_by_their_place(
    model: ModelConfig, tmp_path: Path
) -> None:
    moved = shutil.copytree(tmp_path / "model", tmp_path / "elsewhere" / "other")
    same = load_model_config(moved / "model.yaml")
    before = fp.model_fingerprint(model)
    assert fp.model_fingerprint(same) == before
    heads = bytearray((moved / "heads.safetensors").read_bytes())
    heads[-1] ^= 1
    (moved / "heads.safetensors").write_bytes(heads)
    assert fp.differences(before, fp.model_fingerprint(same)) == ["heads file"]
    tokenizer = moved / "lmm" / "tokenizer_config.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "eos_token": "!"}))
    assert fp.differences(before, fp.model_fingerprint(same)) == ["heads file", "lmm files"]


def test_weights_count_where_they_are_asked_for(model: ModelConfig) -> None:
    weights = Path(model.lmm) / "model.safetensors"
    before = fp.model_fingerprint(model), fp.model_fingerprint(model, with_weights=True)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert fp.model_fingerprint(model) == before[0]
    now = fp.model_fingerprint(model, with_weights=True)
    assert fp.differences(before[1], now) == ["lmm files"]


@pytest.mark.parametrize(
    ("key", "value", "counts"),
    [
        ("quantisation", "4bit", True),
        ("dtype", "float16", True),
        ("mask_threshold", 0.4, True),
        ("score_threshold", 0.4, True),
        ("max_new_tokens", 3, True),
        ("refiner_backend", "onnx", True),
        ("refiner_precision", "float16", True),
        ("compile", True, True),
        ("threads", 3, False),
        ("scene_cache", 0, False),
        ("refiner_cache", "/elsewhere", False),
    ],
)
def test_settings_count_where_they_change_a_number(key: str, value: object, counts: bool) -> None:
    cpu = torch.device("cpu")
    before = fp.settings_fingerprint(GrounderConfig(), cpu)
    other = dataclasses.replace(GrounderConfig(), **{key: value})  # type: ignore[arg-type]
    now = fp.settings_fingerprint(other, cpu)
    assert fp.differences(before, now) == ([f"settings.{key}"] if counts else [])
    assert fp.settings_fingerprint(GrounderConfig(), torch.device("cuda:1"))["device"] == "cuda"


def test_one_changed_weight_is_seen() -> None:
    first, second = nn.Linear(3, 4), nn.Linear(3, 4)
    second.load_state_dict(first.state_dict())
    assert fp.weights_fingerprint(first) == fp.weights_fingerprint(second)
    with torch.no_grad():
        second.weight[2, 1] += 1e-3
    assert fp.weights_fingerprint(first) != fp.weights_fingerprint(second)
    assert fp.weights_fingerprint(first, object()) != fp.weights_fingerprint(first)
    state = dict(first.state_dict())
    assert fp.tensors_fingerprint(state) == fp.weights_fingerprint(first)


def test_a_large_file_is_sampled_from_its_first_to_its_last_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fp, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(fp, "BLOCK_BYTES", 10)
    path = tmp_path / "weights"
    content = bytearray(range(256)) * 8
    found = set()
    for at in (None, 0, len(content) - 1):
        changed = bytearray(content)
        if at is not None:
            changed[at] ^= 1
        path.write_bytes(changed)
        found.add(fp.file_fingerprint(path))
    path.write_bytes(content + b"x")
    assert len(found | {fp.file_fingerprint(path)}) == 4
