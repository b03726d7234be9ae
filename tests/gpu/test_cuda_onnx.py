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
