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

"""What docs/models.md shows runs, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
import yaml

from flmm_ros.engine.config import ModelConfig, find_model, known_models
from flmm_ros.engine.lmm import FAMILIES, LoadOptions, load_lmm

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_worked_example_reads_as_the_real_adapter_does(tmp_path: Path) -> None:
    code = block("python")
    assert len(code.splitlines()) < 100
    made: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/models.md", "exec"), made)
    config = tiny_families.build("gemma3", tmp_path)
    ours = made["Example"].load(config, LoadOptions())
    real = load_lmm(config, LoadOptions())
    image = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    suffix = real.text().reading("what is there", "the red mug", [(0, 11)])
    with torch.inference_mode():
        got = ours.read(ours.encode(image), suffix.ids, suffix.spans).maps
        expected = real.read(real.encode(image), suffix.ids, suffix.spans).maps
    torch.testing.assert_close(got, expected)


def test_the_worked_model_file_is_a_model_file() -> None:
    content = yaml.safe_load(block("yaml"))
    model = ModelConfig(**content)
    assert model.template.count("{text}") == model.next_turn.count("{text}") == 1


def test_every_family_and_model_file_is_in_the_table() -> None:
    for family in FAMILIES:
        assert f"`{family}`" in TEXT, family
    for name in known_models():
        if find_model(name).lmm.count("/") == 1:  # a hub id
            assert f"`{name}`" in TEXT, name
            assert find_model(name).lmm.split("-")[0] in TEXT


@pytest.mark.parametrize("name", known_models())
def test_every_model_file_names_a_family_that_exists(name: str) -> None:
    assert find_model(name).family in FAMILIES
