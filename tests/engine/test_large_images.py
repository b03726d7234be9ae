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

"""A photograph of 24 megapixels: seen with a bounded number of tokens, masks in its own size."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from flmm_ros.engine.config import GrounderConfig, find_model, with_overrides
from flmm_ros.engine.errors import ImageError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.lmm import LoadOptions, load_lmm
from flmm_ros.engine.runtime.memory import need_of

PHOTO_HW = (4000, 6000)
# The image processors of Qwen2.5-VL-7B-Instruct and Qwen3-VL-8B-Instruct, as published.
PUBLISHED: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {"min_pixels": 3136, "max_pixels": 12_845_056, "patch_size": 14},
    "qwen3_vl": {"size": {"shortest_edge": 65_536, "longest_edge": 16_777_216}, "patch_size": 16},
}


def tiny(family: str, where: Path, **more: Any) -> Any:
    """The tiny model of a family with the published settings of its image processor."""
    config = with_overrides(tiny_families.build(family, where), more)
    Qwen2VLImageProcessorPil(**PUBLISHED[family]).save_pretrained(where)
    return load_lmm(config, LoadOptions())


@pytest.mark.parametrize("family", sorted(PUBLISHED))
def test_a_photograph_is_seen_with_the_tokens_of_the_model_file(
    family: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lmm = tiny(family, tmp_path)
    with caplog.at_level(logging.INFO):
        (view,) = lmm.views(PHOTO_HW)
    # 44 x 67 is the largest grid of the photo's shape within 3000; unbounded it is 104 x 156.
    assert view.grid_hw == (44, 67)
    assert len(lmm.image_ids(PHOTO_HW)) == len(view.columns) == 2948
    assert view.box_xyxy_px == (0.0, 0.0, 6000.0, 4000.0)
    cell_px = 28 if family == "qwen2_5_vl" else 32
    told = f"images of 6000x4000 are seen as {67 * cell_px}x{44 * cell_px}, 2948 tokens"
    assert [told in record.message for record in caplog.records] == [True]
    with torch.inference_mode():
        prefix = lmm.encode(np.zeros((*PHOTO_HW, 3), np.uint8))
    assert len(prefix.columns) == 2948
    assert [told in record.message for record in caplog.records] == [True]  # once a size


@pytest.mark.parametrize("family", sorted(PUBLISHED))
def test_of_a_shrunk_image_the_tokens_lie_where_the_view_says(family: str, tmp_path: Path) -> None:
    lmm = tiny(family, tmp_path, max_image_tokens=100)
    hw = (1200, 1800)
    (view,) = lmm.views(hw)
    rows, columns = view.grid_hw
    assert (rows, columns) == (8, 12)  # 96 of 100
    image = np.zeros((*hw, 3), np.uint8)
    image[900:1050, 300:450] = 255  # cell (6, 2): each is 150 pixels wide and high
    pixels = lmm.prepare(image)["pixel_values"].reshape(rows * columns, -1)  # 4 patches a token
    bright = pixels.mean(dim=1)[view.columns].reshape(rows, columns)
    assert divmod(int(bright.argmax()), columns) == (6, 2)
    rest = bright.clone()
    rest[5:8, 1:4] = bright.min()
    assert float(rest.max()) < float(bright.min()) + 0.02 * float(bright.max() - bright.min())


def test_the_bound_only_lowers_what_the_processor_is_set_to(tmp_path: Path) -> None:
    lmm = load_lmm(tiny_families.build("qwen2_5_vl", tmp_path / "a"), LoadOptions())
    assert len(lmm.image_ids((600, 800))) == 6 * 8 <= 60 < 21 * 29  # its own most: 60
    lmm = tiny("qwen3_vl", tmp_path / "b", max_image_tokens=16)
    assert len(lmm.image_ids((100, 100))) == 16 < 64  # its own least: 64


def test_the_memory_check_reckons_with_the_same_number(tmp_path: Path) -> None:
    few = tiny_families.build("qwen2_5_vl", tmp_path)
    many = with_overrides(few, {"max_image_tokens": 6000})
    a_token = 2 * 2 * 2 * (32 // 4) * 4  # keys and values, layers, their heads, width, float32
    for config in (few, many):
        need = need_of(config, "float32", scenes=2)
        assert need is not None and need.cache == 2 * config.max_image_tokens * a_token


def test_an_image_beyond_all_measure_is_refused(tmp_path: Path) -> None:
    grounder = Grounder.from_config(GrounderConfig(max_image_megapixels=0.01, device="cpu"))
    with pytest.raises(
        ImageError,
        match=r"at most 0\.01 megapixels, got 200x100, 0\.02; shrink it, or raise max_im",
    ):
        grounder.open(np.zeros((100, 200, 3), np.uint8))
    grounder.open(np.zeros((100, 100, 3), np.uint8))


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("llava_1_5_7b", 24 * 24),
        ("llava_next_vicuna_7b", 24 * 24 + 48 * (48 + 1)),
        ("llava_onevision_qwen2_7b", 27 * 27 + 81 * (81 + 1)),
        ("internvl3_8b", 13 * 16 * 16),
        ("smolvlm_2b", 17 * 9 * 9),
        ("gemma3_4b", 16 * 16),
        ("qwen2_5_vl_7b", 3000),
        ("qwen3_vl_8b", 3000),
    ],
)
def test_packaged_models_name_their_most(name: str, tokens: int) -> None:
    assert find_model(name).max_image_tokens == tokens
