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

"""Memory of a GPU: it runs out and the model lives on, it is given back, nothing is kept."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from gpu_scenes import Photo, require_same
from numpy.typing import NDArray

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder, usable_device
from flmm_ros.engine.runtime.memory import GIB, available

pytestmark = pytest.mark.cuda
MIB = 2**20


def fresh(grounder: Grounder) -> Grounder:
    """The loaded model with no scene remembered."""
    return Grounder(grounder.config, grounder.model, grounder.lmm, grounder.heads)


def noise(number: int, hw: tuple[int, int] = (240, 320)) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, (*hw, 3), dtype=np.uint8)


def in_use() -> int:
    """Bytes that live tensors take."""
    gc.collect()
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


def test_a_command_that_finds_no_memory_fails_and_the_next_one_works(
    photos: list[Photo], on_device: Grounder
) -> None:
    grounder, photo = fresh(on_device), photos[0]
    expected = grounder.open(photo.rgb).ground(photo.phrases)
    large = grounder.open(noise(1, (3000, 4000)))  # 48 MB of logits a phrase
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 16 * MIB) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError) as failure:
            large.ground(photo.phrases)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "out of memory" in str(failure.value)  # what the node looks for
    again = grounder.open(photo.rgb).ground(photo.phrases)
    require_same(again, expected, pixels=5e-5, score=1e-4)
    assert len(large.ground(photo.phrases)) == len(photo.phrases)


def test_many_images_take_no_more_memory_than_some(on_device: Grounder) -> None:
    grounder, used = fresh(on_device), []
    for number in range(24):
        grounder.open(noise(number)).ask("what is there?")
        used.append(in_use())
    assert used[-1] - used[5] < MIB, used


def test_closing_gives_everything_back(device: str) -> None:
    left = []
    for number in range(3):  # the first one leaves what libraries set up
        grounder = Grounder.from_config(GrounderConfig("tabletop", device=device))
        grounder.open(noise(number)).ground(["the red mug"])
        grounder.close()
        left.append(in_use())
    assert left[2] - left[1] < 64 * 1024, left


def test_free_memory_is_the_devices_and_a_model_that_does_not_fit_is_refused(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = available(device)
    kept = torch.empty(GIB, dtype=torch.uint8, device=device)
    during = available(device)
    del kept
    torch.cuda.empty_cache()
    # Others may use the GPU meanwhile, but hardly to the same amount.
    assert before - during > 0.9 * GIB and available(device) - during > 0.9 * GIB
    config = GrounderConfig("tabletop", device=device, scene_cache=64)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (20 * MIB, GIB))
    with pytest.raises(ConfigError, match="GiB of free memory on cuda for bfloat16, got 0.0"):
        Grounder.from_config(config)


def test_a_gpu_that_there_is_not_is_refused_by_its_number() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(ConfigError, match=f"one of {count} GPUs of this machine"):
        usable_device(f"cuda:{count}")
    assert usable_device("auto") == "cuda"
