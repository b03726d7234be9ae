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

"""Every LMM family on a GPU, on tiny random models of the real classes: what is read and said is
what the CPU reads and says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_families
import torch
from numpy.typing import NDArray

from flmm_ros.engine.lmm import FAMILIES, Lmm, LmmReading, LoadOptions, joined_arguments, load_lmm

QUESTION, ANSWER, SPANS = "what is there", "the red mug . a cube", ((0, 11), (14, 20))
SIZES_HW = ((120, 200), (210, 90))
Pair = tuple[Lmm, Lmm]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The family's tiny model on the CPU and on the GPU."""
    config = tiny_families.build(request.param, tmp_path_factory.mktemp(request.param))
    device = request.getfixturevalue("device")
    return load_lmm(config, LoadOptions()), load_lmm(config, LoadOptions(device))


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def picture(hw: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)


def read(lmm: Lmm, hw: tuple[int, int]) -> LmmReading:
    """Two phrases on one image, on its cached prefix."""
    suffix = lmm.text().reading(QUESTION, ANSWER, SPANS)
    return lmm.read(lmm.encode(picture(hw)), suffix.ids, suffix.spans)


def require_close(ours: LmmReading, expected: LmmReading) -> None:
    for a, b in zip(ours.view_maps, expected.view_maps, strict=True):
        torch.testing.assert_close(a.cpu(), b, atol=2e-5, rtol=1e-3)
    scale = float(expected.all_states.abs().max())
    assert float((ours.all_states.cpu() - expected.all_states).abs().max()) < 1e-4 * max(1.0, scale)


@pytest.mark.parametrize("hw", SIZES_HW)
def test_rows_and_states_are_those_of_the_cpu(pair: Pair, hw: tuple[int, int], device: str) -> None:
    expected, ours = (read(lmm, hw) for lmm in pair)
    assert {m.device.type for m in (*ours.view_maps, ours.all_states)} == {device}
    require_close(ours, expected)


def test_what_is_said_is_what_the_cpu_says(pair: Pair) -> None:
    said = [
        lmm.generate(
            lmm.encode(picture(SIZES_HW[0])), lmm.text().question(QUESTION).ids, max_new_tokens=6
        ).ids
        for lmm in pair
    ]
    assert said[0] == said[1] and said[0]


def test_a_batch_is_read_as_on_the_cpu(pair: Pair) -> None:
    images = [picture(hw, seed) for seed, hw in enumerate(SIZES_HW)]
    found = []
    for lmm in pair:
        suffix = lmm.text().reading(QUESTION, ANSWER, SPANS)
        arguments = joined_arguments([lmm.prepare(image) for image in images])
        found.append(
            lmm.read_batch(
                {name: value.to(lmm.device) for name, value in arguments.items()},
                lmm.text().prefix(),
                [suffix.ids] * 2,
                [suffix.spans] * 2,
                SIZES_HW,
            )
        )
    for expected, ours in zip(*found, strict=True):
        require_close(ours, expected)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_bfloat16_runs_and_looks_the_same_way(family: str, tmp_path: Path, device: str) -> None:
    config = tiny_families.build(family, tmp_path)
    expected = read(load_lmm(config, LoadOptions()), SIZES_HW[0]).maps
    ours = read(load_lmm(config, LoadOptions(device, "bfloat16")), SIZES_HW[0]).maps.cpu()
    assert ours.dtype == torch.float32 and bool(ours.isfinite().all())
    together = torch.stack([ours.flatten(), expected.flatten()])
    assert float(torch.corrcoef(together)[0, 1]) > 0.95
