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

"""Fixtures around the tiny model: written to disk as a user's model would be, and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_model import SIDE_PX, tiny_heads, tiny_llava, word_tokenizer
from transformers import CLIPImageProcessor

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.checkpoint import save_heads

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Writes a model directory; keyword arguments as for `tiny_llava`."""

    def make(**shape: int) -> Path:
        directory = tmp_path_factory.mktemp("model")
        tiny_llava(**shape).save_pretrained(directory / "lmm")
        word_tokenizer().save_pretrained(directory / "lmm")
        CLIPImageProcessor(size={"shortest_edge": SIDE_PX}).save_pretrained(directory / "lmm")
        save_heads(directory / "heads.safetensors", tiny_heads(), {"made": "by a test"})
        (directory / "model.yaml").write_text(
            "name: tiny\nfamily: llava\nlmm: lmm\nheads: heads.safetensors\nscore_threshold: 0.0\n"
        )
        return directory

    return make


@pytest.fixture(scope="session")
def model_dir(make_model: MakeModel) -> Path:
    """One tiny model for every test that only reads it."""
    return make_model()


@pytest.fixture(scope="session")
def shared_grounder(model_dir: Path) -> Grounder:
    """A loaded tiny model."""
    config = GrounderConfig(model=str(model_dir), device="cpu", max_new_tokens=6)
    return Grounder.from_config(config)


@pytest.fixture
def grounder(shared_grounder: Grounder) -> Grounder:
    """The loaded tiny model with no scene remembered."""
    return Grounder(
        shared_grounder.config, shared_grounder.model, shared_grounder.lmm, shared_grounder.heads
    )


@pytest.fixture(scope="session")
def image() -> NDArray[np.uint8]:
    """RGB noise, 100 x 72."""
    return np.random.default_rng(3).integers(0, 256, (72, 100, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiny_model_config(model_dir: Path) -> ModelConfig:
    """The tiny model's configuration."""
    return ModelConfig(
        name="tiny", lmm=str(model_dir / "lmm"), heads=str(model_dir / "heads.safetensors")
    )
