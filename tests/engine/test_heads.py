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

"""Mask decoder and refiner: shapes, gradients, batches that change nothing, geometry of the
frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_model import tiny_heads

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.mask_decoder import MaskDecoder
from flmm_ros.engine.heads.trained import LmmShape
from flmm_ros.engine.lmm.view import View
from flmm_ros.engine.masks.framing import crop_to_image

IMAGE_HW = (72, 100)


@pytest.mark.parametrize(
    ("grid_hw", "coarse_hw"),
    [((6, 6), (16, 16)), ((16, 16), (16, 16)), ((4, 7), (9, 16)), ((20, 12), (20, 12))],
)
def test_coarse_masks_are_enlarged_and_cut_back(
    grid_hw: tuple[int, int], coarse_hw: tuple[int, int]
) -> None:
    decoder = MaskDecoder(5, base_channels=4, upsample_to=16)
    assert decoder(torch.rand(2, 5, *grid_hw)).shape == (2, *coarse_hw)


def test_the_scale_of_a_map_does_not_matter_and_empty_maps_are_no_error() -> None:
    decoder = MaskDecoder(2, base_channels=4, upsample_to=16).eval()
    maps = torch.rand(1, 2, 6, 6)
    torch.testing.assert_close(decoder(maps), decoder(maps * 40))
    assert decoder(torch.zeros(1, 2, 6, 6)).isfinite().all()


def test_phrases_decode_together_as_they_do_alone() -> None:
    heads = tiny_heads()
    coarse = torch.randn(3, 12, 16)
    cues = [torch.randn(t, 32) for t in (2, 1, 2)]
    features = torch.randn(1, 32, 8, 8)
    with torch.inference_mode():
        together = heads.refine(features, coarse, cues, IMAGE_HW)
        for i in range(3):
            alone = heads.refine(features, coarse[i : i + 1], cues[i : i + 1], IMAGE_HW)
            torch.testing.assert_close(together.low_logits[i], alone.low_logits[0])
            torch.testing.assert_close(together.iou[i], alone.iou[0])


def test_the_official_mode_lets_phrases_share_their_minimum() -> None:
    heads = tiny_heads()
    heads.mask_refiner.isolated = False
    coarse = torch.randn(2, 12, 16)
    coarse[1] -= 30
    cues, features = [torch.randn(1, 32)] * 2, torch.randn(1, 32, 8, 8)
    with torch.inference_mode():
        together = heads.refine(features, coarse, cues, IMAGE_HW)
        alone = heads.refine(features, coarse[:1], cues[:1], IMAGE_HW)
    assert not torch.allclose(together.low_logits[0], alone.low_logits[0])


def test_every_trained_part_gets_a_gradient() -> None:
    heads = tiny_heads().train()
    coarse = heads.decode(torch.rand(3, 12, 6, 6))
    states = [torch.randn(3, t, 32) for t in (1, 2, 2)]
    pixels = heads.mask_refiner.pixels([np.full((*IMAGE_HW, 3), 90, np.uint8)] * 3)
    refined = heads.refine(
        heads.mask_refiner.image_encoder(pixels),
        coarse,
        [heads.weighted_states(s) for s in states],
        IMAGE_HW,
    )
    logits = heads.mask_refiner.upscale(refined.low_logits, IMAGE_HW)
    assert logits.shape == (3, *IMAGE_HW)
    (logits.square().mean() + refined.iou.square().mean() + coarse.square().mean()).backward()
    for part in (
        "mask_decoder",
        "mask_refiner.image_encoder",
        "mask_refiner.mask_decoder.transformer",
        "text_proj",
        "text_layer_weights",
    ):
        gradients = [p.grad for n, p in heads.named_parameters() if n.startswith(part)]
        assert all(g is not None for g in gradients), part


def test_boxes_are_tight_and_the_whole_image_where_nothing_is_positive() -> None:
    refiner = tiny_heads().mask_refiner  # input square of 64, image 100 x 72 -> 64 x 46
    coarse = torch.full((2, 72, 100), -8.0)
    coarse[0, 10:20, 50:75] = 8.0
    boxes = refiner.boxes(coarse, (72, 100))
    expected = torch.tensor([[50, 10, 75, 20], [0, 0, 100, 72]]) * torch.tensor(
        [0.64, 46 / 72, 0.64, 46 / 72]
    )
    torch.testing.assert_close(boxes, expected)


def test_padding_is_cut_from_both_sides() -> None:
    view = View("whole", torch.arange(16), (4, 4), (-50.0, 0.0, 150.0, 200.0))
    grid = torch.arange(16.0).reshape(1, 4, 4)
    assert crop_to_image(grid, view, (200, 100)).tolist() == [[[1, 2], [5, 6], [9, 10], [13, 14]]]


def test_heads_of_another_model_are_refused() -> None:
    with pytest.raises(CheckpointError, match="trained for another model"):
        tiny_heads().require_fit(LmmShape(3, 8, 32))
