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

"""torch.compile with its real compiler on a GPU: something is compiled, and the masks stay."""

from __future__ import annotations

import logging

import pytest
import torch
from gpu_scenes import Photo, require_same

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder


@pytest.mark.timeout(400)
def test_compiled_parts_give_the_same_masks(
    photos: list[Photo], on_device: Grounder, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch._dynamo.reset()
    counted = torch._dynamo.utils.counters
    counted.clear()
    config = GrounderConfig("tabletop", device=device, dtype="float32", compile=True)
    with caplog.at_level(logging.WARNING):
        compiled = Grounder.from_config(config)
        ours = compiled.open(photos[0].rgb).ground(photos[0].phrases)
    expected = on_device.open(photos[0].rgb).ground(photos[0].phrases)
    require_same(ours, expected, pixels=2e-4, score=5e-3)
    assert not [r for r in caplog.records if "everything runs uncompiled" in r.getMessage()]
    assert counted["stats"]["unique_graphs"] >= 3, dict(counted["stats"])
    assert counted["inductor"], "nothing was handed to the compiler"
