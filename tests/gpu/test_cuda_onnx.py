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

"""A language model on a GPU with heads in ONNX Runtime, whatever that can use: the same masks, and
what runs the heads is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_scenes import Photo, iou

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder


@pytest.mark.timeout(300)
def test_heads_in_onnx_runtime_give_the_same_masks(
    photos: list[Photo], on_cpu: Grounder, device: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    config = GrounderConfig(
        "tabletop",
        device=device,
        dtype="float32",
        refiner_backend="onnx",
        refiner_cache=str(tmp_path),
    )
    grounder = Grounder.from_config(config)
    assert grounder.lmm.device.type == device
    assert "ExecutionProvider" in grounder.backend
    for photo in photos:
        expected = on_cpu.open(photo.rgb).ground(photo.phrases)
        ours = grounder.open(photo.rgb).ground(photo.phrases)
        assert all(iou(a.mask, b.mask) > 0.97 for a, b in zip(ours, expected, strict=True))
