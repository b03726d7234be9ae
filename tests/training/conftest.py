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

"""A tiny model and tiny data on disk, made once for all tests of the loop and the feature cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory; see tiny_training."""
    return tiny_training.write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RefCOCO and gRefCOCO of a few small scenes."""
    return tiny_training.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As the processes that a run in this one is compared with."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lines(tiny_model_dir: Path, tiny_data_root: Path) -> Callable[..., Any]:
    """A recipe by its folder and further lines."""

    def make(out: Path, **more: Any) -> Any:
        return tiny_training.recipe(tiny_model_dir, tiny_data_root, out, **more)

    return make
