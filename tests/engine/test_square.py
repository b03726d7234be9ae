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

"""Images in padded squares, and DeepSeek-VL's pixels: the original's sizes, Pillow's resampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.engine.lmm import LoadOptions, load_lmm
from flmm_ros.engine.lmm.families.square import PaddedSquare
from flmm_ros.engine.masks.framing import crop_to_image


@pytest.mark.parametrize(
    ("image_hw", "fitted_hw", "before"),
    [
        ((426, 640), (255, 384), (64, 0)),  # 255.6 rows: truncated, the odd row of padding behind
        ((640, 427), (384, 256), (0, 64)),
        ((480, 480), (384, 384), (0, 0)),
        ((4, 640), (14, 384), (185, 0)),  # 2.4 rows would be less than the least
    ],
)
def test_sizes_are_truncated_and_centred(
    image_hw: tuple[int, int], fitted_hw: tuple[int, int], before: tuple[int, int]
) -> None:
    square = PaddedSquare.around(image_hw, 384, least=14)
    assert (square.fitted_hw, square.before) == (fitted_hw, before)


def test_the_box_is_the_square_in_pixels_of_the_image() -> None:
    box = PaddedSquare(384, (256, 384)).box_xyxy_px((512, 768))
    assert box == (0.0, -128.0, 768.0, 640.0)


def pixels(filled: NDArray[np.uint8], mean: list[float], std: list[float]) -> torch.Tensor:
    scaled = (filled / 255 - np.array(mean)) / np.array(std)
    return torch.from_numpy(scaled).float().permute(2, 0, 1)[None]


@pytest.mark.parametrize("family", ["deepseek_vl", "deepseek_vl_hybrid"])
def test_deepseek_sees_the_square_the_heads_were_trained_with(family: str, tmp_path: Path) -> None:
    lmm: Any = load_lmm(tiny_families.build(family, tmp_path), LoadOptions())
    processor, hybrid = lmm.image_processor, family.endswith("hybrid")
    side = 256 if hybrid else 56
    image = np.random.default_rng(3).integers(0, 256, (107, 131, 3), dtype=np.uint8)
    height = int(107 / 131 * side)  # 209.1 of 256, 45.7 of 56
    mean, std = processor.image_mean, processor.image_std
    if hybrid:
        mean, std = processor.high_res_image_mean, processor.high_res_image_std
    square = Image.new("RGB", (side, side), tuple(int(255 * channel) for channel in mean))
    fitted = Image.fromarray(image).resize((side, height), Image.Resampling.BICUBIC)
    square.paste(fitted, (0, (side - height) // 2))
    made = lmm.prepare(image)
    expected = pixels(np.asarray(square), mean, std)
    key = "high_res_pixel_values" if hybrid else "pixel_values"
    torch.testing.assert_close(made[key], expected, atol=1e-5, rtol=0)
    if hybrid:
        small = np.asarray(square.resize((56, 56), Image.Resampling.BICUBIC))
        expected = pixels(small, processor.image_mean, processor.image_std)
        torch.testing.assert_close(made["pixel_values"], expected, atol=1e-5, rtol=0)


def test_coarse_masks_are_cut_as_the_original_cuts_them(tmp_path: Path) -> None:
    lmm = load_lmm(tiny_families.build("deepseek_vl", tmp_path), LoadOptions())
    (view,) = lmm.views((426, 640))  # 37 rows of 56, 9 before them
    rows = torch.arange(64.0)[:, None].expand(64, 64)
    kept = crop_to_image(rows, view, (426, 640))
    assert kept[0, 0] == 9 * 64 // 56 and len(kept) == int(37 * 64 / 56 + 0.5)
    assert kept.shape[1] == 64
