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

"""Official heads go out and come back: the same keys, the same numbers, the same masks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tiny_training
import torch

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.checkpoint import (
    load_heads,
    load_official_heads,
    save_heads,
    save_official_heads,
)
from flmm_ros.engine.heads.trained import Heads
from training.heads.official import main

CASE = tiny_training.ROOT / "tests" / "golden" / "llava15_max_portrait"
HEADS, SAM = CASE / "flmm_head.pth", CASE / "sam_image_encoder.pth"


def test_the_official_file_is_written_as_it_was_read(tmp_path: Path) -> None:
    ours, again = tmp_path / "heads.safetensors", tmp_path / "flmm.pth"
    assert main(["import", str(HEADS), str(SAM), str(ours)]) == 0
    assert main(["export", str(ours), str(again)]) == 0
    first, second = (torch.load(path, weights_only=True) for path in (HEADS, again))
    assert set(first) == set(second) and len(first) == 193
    for name, value in first.items():
        assert torch.equal(second[name], value.float()), name


def test_trained_heads_come_back_and_give_the_same_masks(tmp_path: Path) -> None:
    base = load_official_heads(HEADS, SAM)
    config = dataclasses.replace(base.config, isolated=True, supervised_iou=True)
    heads = Heads.create(base.lmm, config).eval()
    state = {name: value + 0.01 for name, value in base.state_dict().items()}
    state |= {n: v for n, v in base.state_dict().items() if "image_encoder" in n}
    heads.load_state_dict(state)
    save_official_heads(tmp_path / "flmm.pth", heads)
    back = load_official_heads(tmp_path / "flmm.pth", SAM)
    maps = torch.rand(1, heads.lmm.map_channels, 6, 6)
    features = torch.randn(
        1, config.refiner.hidden, heads.mask_refiner.grid, heads.mask_refiner.grid
    )
    cues = [torch.randn(2, heads.lmm.width)]
    with torch.no_grad():
        coarse = heads.decode(maps)
        assert torch.equal(back.decode(maps), coarse)
        ours, theirs = (h.refine(features, coarse, cues, (48, 64)) for h in (heads, back))
    assert torch.equal(ours.low_logits, theirs.low_logits)  # one phrase: no company to depend on
    assert (back.config.isolated, back.config.supervised_iou) == (False, False)


def test_what_has_no_official_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = load_official_heads(HEADS, SAM)
    heads = Heads.create(base.lmm, dataclasses.replace(base.config, selector=True))
    save_heads(tmp_path / "heads.safetensors", heads, {})
    words = [str(tmp_path / "heads.safetensors"), str(tmp_path / "flmm.pth")]
    assert main(["export", *words]) == 2
    assert "--without-selector" in capsys.readouterr().err
    assert not (tmp_path / "flmm.pth").exists()
    assert main(["export", *words, "--without-selector"]) == 0
    assert len(torch.load(tmp_path / "flmm.pth", weights_only=True)) == 193
    assert load_heads(words[0]).has_selector
    with pytest.raises(CheckpointError, match="convolutional"):
        save_official_heads(tmp_path / "flmm.pth", tiny_training.tiny_heads())
