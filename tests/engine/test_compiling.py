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

"""torch.compile is wired to the parts, changes no number, and gives up with one warning."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from flmm_ros.engine import grounder as facade
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.runtime import compilation as compiling
from flmm_ros.engine.runtime.compilation import compile_parts

PHRASES = ["the red mug"]


def test_compiled_parts_give_the_same_masks(
    model_dir: Path,
    grounder: Grounder,
    image: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int] = []

    def quickly(text_model: torch.nn.Module, heads: object) -> int:
        counts.append(compile_parts(text_model, heads, backend="eager"))  # traced, not translated
        return counts[-1]

    monkeypatch.setattr(facade, "compile_parts", quickly)
    config = GrounderConfig(model=str(model_dir), device="cpu", compile=True)
    compiled = Grounder.from_config(config)
    assert counts == [3 + 3]  # a feed-forward block in each of three layers, three parts of heads
    for ours, expected in zip(
        compiled.open(image).ground(PHRASES), grounder.open(image).ground(PHRASES), strict=True
    ):
        np.testing.assert_allclose(ours.soft_mask, expected.soft_mask, atol=1e-4)
    assert "mask_decoder.out.weight" in compiled.heads.state_dict()  # type: ignore[attr-defined]


def test_without_a_compiler_there_is_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: object, **__: object) -> None:
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(compiling.torch, "compile", no_compiler)
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with caplog.at_level(logging.WARNING):
        assert compile_parts(module, module) == 0
    assert [r.getMessage() for r in caplog.records] == [
        "compile: expected a working torch.compile (a C++ compiler on a CPU, triton on a GPU), "
        "got: No working C++ compiler found; everything runs uncompiled"
    ]
