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

"""Configuration: unknown keys, wrong values and missing files say what would be right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from flmm_ros.engine.config import (
    GrounderConfig,
    ModelConfig,
    find_model,
    load_grounder_config,
    load_model_config,
    with_overrides,
)
from flmm_ros.engine.errors import ConfigError


def test_every_setting_explains_itself() -> None:
    for kind in (GrounderConfig, ModelConfig):
        for f in dataclasses.fields(kind):
            assert f.metadata["doc"].endswith("."), f.name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"score_threshold": 2.0}, "score_threshold: expected -1.0 to 1.0, got 2.0"),
        ({"max_new_tokens": 0}, "max_new_tokens: expected 1 to 4096, got 0"),
        ({"max_new_tokens": "9"}, "max_new_tokens: expected int, got str '9'"),
        ({"dtype": "int8"}, "dtype: expected one of auto, float32, bfloat16, float16"),
        ({"device": "tpu"}, "device: expected auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:x"}, "device: expected auto, cpu, cuda or cuda:N"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_overrides(GrounderConfig(), values)


def test_overrides_are_typed_and_may_be_dotted() -> None:
    config = with_overrides(
        GrounderConfig(), ["grounder.mask_threshold=1", "device=cpu", "scene_cache=0"]
    )
    assert (config.mask_threshold, config.device, config.scene_cache) == (1.0, "cpu", 0)
    with pytest.raises(ConfigError, match="expected key=value, got 'device'"):
        with_overrides(config, ["device"])


def test_an_unknown_key_lists_the_known_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("lmmm: here\nheads: there\n")
    with pytest.raises(ConfigError, match=r"unknown key 'lmmm' \(did you mean 'lmm'\?\); known: f"):
        load_model_config(path)
    path.write_text("devise: cpu\n")
    with pytest.raises(ConfigError, match="did you mean 'device'"):
        load_grounder_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected 'key: value' lines, got list"),
        ("a: [1\n", "expected readable YAML"),
        ("lmm: x\n", "expected a value for 'heads'"),
        ("lmm: x\nheads: y\nmerge: sum\n", "merge: expected one of mean, max"),
        ("lmm: 7\nheads: y\n", "lmm: expected str, got int"),
    ],
)
def test_broken_model_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_model_config(tmp_path / "model.yaml")


def test_paths_are_relative_to_the_file_and_hub_ids_stay(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("lmm: owner/name\nheads: heads.pth\nsam: sub/sam.pth\n")
    config = load_model_config(path)
    assert config.name == "mine"
    assert config.lmm == "owner/name"
    assert config.heads == str(tmp_path / "heads.pth")
    assert config.sam == str(tmp_path / "sub/sam.pth")


def test_a_model_is_found_by_directory_file_and_name(model_dir: Path) -> None:
    assert find_model(str(model_dir)).name == "tiny"
    assert find_model(str(model_dir / "model.yaml")).name == "tiny"
    assert find_model("llava_1_5_7b").family == "llava"
    with pytest.raises(ConfigError, match="got 'nothing'; known: .*llava_1_5_7b"):
        find_model("nothing")
