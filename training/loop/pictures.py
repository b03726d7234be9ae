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

"""Pictures of the way: what the words looked at, what was drawn, and what is right."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from flmm_ros.engine.masks.framing import crop_to_image
from training.features.readings import SampleReading, SampleTruth

Picture = NDArray[np.uint8]
GREEN, RED = (40, 200, 70), (230, 60, 50)
GAP_PX = 4
MOST_PHRASES = 4


def sheet(
    rgb: Picture, reading: SampleReading, truth: SampleTruth, refined: torch.Tensor
) -> Picture:
    """One row a phrase: its attention, the predicted mask, the true one. uint8 [H', W', 3].

    rgb [H, W, 3]; refined logits [N, H, W]. The attention is the mean over layers and heads.
    """
    heat = crop_to_image(reading.maps.mean(dim=1), reading.view, truth.image_hw)
    rows = []
    for n in range(min(len(truth.words), MOST_PHRASES)):
        tiles = [
            _warm(rgb, heat[n]),
            _tinted(rgb, (refined[n] > 0).cpu().numpy(), RED),
            _tinted(rgb, truth.masks[n].cpu().numpy(), GREEN),
        ]
        rows.append(_side_by_side(tiles, axis=1))
    return _side_by_side(rows, axis=0)


def _warm(rgb: Picture, heat: torch.Tensor) -> Picture:
    """The image, dark where nothing was looked at and yellow where most was."""
    full = F.interpolate(heat[None, None].float().cpu(), rgb.shape[:2], mode="bilinear")[0, 0]
    low, high = float(full.min()), float(full.max())
    share = ((full - low) / max(high - low, 1e-12)).numpy()[..., None]
    warm = np.array((255, 210, 40), np.float32)
    return (rgb * 0.35 * (1 - share) + (0.35 * rgb + 0.65 * warm) * share).astype(np.uint8)


def _tinted(rgb: Picture, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> Picture:
    out = rgb.astype(np.float32)
    out[mask] = 0.4 * out[mask] + 0.6 * np.array(colour, np.float32)
    return out.astype(np.uint8)


def _side_by_side(tiles: list[Picture], axis: int) -> Picture:
    """Tiles of one size next to each other, with a gap."""
    shape = list(tiles[0].shape)
    shape[axis] = GAP_PX
    gap = np.full(shape, 255, np.uint8)
    spaced = [part for tile in tiles for part in (tile, gap)][:-1]
    return np.concatenate(spaced, axis=axis)


def small(picture: Picture, width_px: int = 960) -> Picture:
    """No wider than this, for a log."""
    if picture.shape[1] <= width_px:
        return picture
    height = max(1, round(picture.shape[0] * width_px / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width_px, height)))
