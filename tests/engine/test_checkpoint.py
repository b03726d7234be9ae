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

"""Head files: ours come back as they were saved, official ones load strictly or say what is
wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import tiny_heads

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.checkpoint import load_heads, load_official_heads, save_heads
from flmm_ros.engine.heads.official import BASIS
from flmm_ros.engine.heads.refiner_shape import SamVitShape

CASE = Path(__file__).resolve().parents[1] / "golden" / "llava15_max_portrait"
SAM = CASE / "sam_image_encoder.pth"


@pytest.fixture(scope="module")
def official() -> dict[str, torch.Tensor]:
    return dict(torch.load(CASE / "flmm_head.pth", weights_only=True))


def _written(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_ours_come_back_as_they_were_saved(tmp_path: Path) -> None:
    heads = tiny_heads()
    save_heads(tmp_path / "heads.safetensors", heads, {"command": "a test"})
    loaded = load_heads(tmp_path / "heads.safetensors")
    assert (loaded.config, loaded.lmm) == (heads.config, heads.lmm)
    for name, value in heads.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert not any(p.requires_grad for p in loaded.parameters())


def test_official_shapes_are_read_from_the_weights(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        heads = load_official_heads(CASE / "flmm_head.pth", SAM)
    assert "flmm_head.pth: 193 loaded, 0 missing, 0 unexpected" in caplog.text
    assert "sam_image_encoder.pth: 37 loaded, 0 missing, 0 unexpected" in caplog.text
    assert heads.lmm.map_channels == 16
    assert heads.config.base_channels == 8
    assert heads.config.refiner.encoder == SamVitShape(
        width=32, depth=2, heads=2, patch=16, window=14, global_layers=(1,), mlp_width=128
    )


def test_a_wrapped_file_and_one_without_buffers_load_the_same(
    tmp_path: Path, official: dict[str, torch.Tensor]
) -> None:
    plain = load_official_heads(CASE / "flmm_head.pth", SAM).state_dict()
    bare = dict(official)
    basis = bare.pop(f"sam.model.{BASIS}")
    sam = {**torch.load(SAM, weights_only=True), BASIS: basis}
    sam["mask_decoder.iou_token.weight"] = torch.zeros(1, 256)  # SAM's own: the trained ones win
    heads = load_official_heads(
        _written(tmp_path / "wrapped.pth", {"state_dict": bare}), _written(tmp_path / "s.pth", sam)
    )
    for name, value in heads.state_dict().items():
        assert torch.equal(plain[name], value), name


def test_an_unknown_key_is_an_error_that_names_the_nearest(
    tmp_path: Path, official: dict[str, torch.Tensor]
) -> None:
    wrong = dict(official)
    wrong["mask_head.conv_segg.weight"] = wrong.pop("mask_head.conv_seg.weight")
    path = _written(tmp_path / "wrong.pth", wrong)
    with pytest.raises(CheckpointError) as error:
        load_official_heads(path, SAM)
    message = str(error.value)
    assert "192 loaded, 1 missing, 1 unexpected" in message
    assert "mask_head.conv_segg.weight (nearest known key: mask_head.conv_seg.weight)" in message


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_says_so(tmp_path: Path, share: float) -> None:
    content = (CASE / "flmm_head.pth").read_bytes()
    path = tmp_path / "truncated.pth"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        load_official_heads(path, SAM)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_of_ours_says_so(tmp_path: Path, share: float) -> None:
    save_heads(tmp_path / "heads.safetensors", tiny_heads(), {})
    content = (tmp_path / "heads.safetensors").read_bytes()
    path = tmp_path / "truncated.safetensors"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        load_heads(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a dict of tensors"),
        ({}, "expected a dict of tensors"),
        ({"a": 1}, "expected a dict of name -> tensor, got int at 'a'"),
        ({"a": torch.zeros(1)}, "expected the key 'mask_head"),
    ],
)
def test_other_content_says_what_it_is(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_official_heads(
            _written(tmp_path / "x.pth", content),
            _written(tmp_path / "s.pth", {BASIS: torch.zeros(2, 128)}),
        )


def test_missing_files_and_missing_sam_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="got nothing there"):
        load_official_heads(tmp_path / "none.pth", SAM)
    with pytest.raises(CheckpointError, match="set 'sam'"):
        load_official_heads(CASE / "flmm_head.pth", None)


def test_a_wrong_shape_is_named(tmp_path: Path, official: dict[str, torch.Tensor]) -> None:
    wrong = {**official, "text_proj.bias": torch.zeros(7)}
    with pytest.raises(
        CheckpointError, match=r"text_proj.bias: expected shape \(256,\), got \(7,\)"
    ):
        load_official_heads(_written(tmp_path / "x.pth", wrong), SAM)


def test_what_fine_tuning_scripts_wrap_around_sam_is_taken_off(tmp_path: Path) -> None:
    plain = torch.load(SAM, weights_only=True)
    expected = load_official_heads(CASE / "flmm_head.pth", SAM).state_dict()
    wrapped = {
        "state_dict": {"state_dict": plain},
        "model": {"model": plain, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3},
        "DataParallel": {f"module.{key}": value for key, value in plain.items()},
        "Lightning": {"state_dict": {f"sam.{key}": value for key, value in plain.items()}},
        "encoder": {key.removeprefix("image_encoder."): value for key, value in plain.items()},
    }
    for name, content in wrapped.items():
        torch.save(content, tmp_path / f"{name}.pth")
        got = load_official_heads(CASE / "flmm_head.pth", tmp_path / f"{name}.pth").state_dict()
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[key], expected[key]) for key in expected), name


def test_other_names_for_sam_are_refused_with_the_nearest(tmp_path: Path) -> None:
    renamed = {
        key.replace("image_encoder.", "vision_encoder."): value
        for key, value in torch.load(SAM, weights_only=True).items()
    }
    torch.save(renamed, tmp_path / "sam.pth")
    with pytest.raises(
        CheckpointError,
        match=rf"got {len(renamed)} keys without it, nearest 'vision_encoder.patch_embed.proj.wei",
    ):
        load_official_heads(CASE / "flmm_head.pth", tmp_path / "sam.pth")


def test_python_objects_beside_tensors_are_not_taken_for_damage(tmp_path: Path) -> None:
    plain = torch.load(SAM, weights_only=True)
    for name, content in (("numbers", np.float64(0.9)), ("module", torch.nn.Linear(2, 2))):
        torch.save({"state_dict": plain, "beside": content}, tmp_path / f"{name}.pth")
        with pytest.raises(CheckpointError, match="Python objects beside them .*save the tensors"):
            load_official_heads(CASE / "flmm_head.pth", tmp_path / f"{name}.pth")
    (tmp_path / "cut.pth").write_bytes(SAM.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        load_official_heads(CASE / "flmm_head.pth", tmp_path / "cut.pth")
