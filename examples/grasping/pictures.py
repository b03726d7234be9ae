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

"""Pictures of grasping: a tile for each instruction, all tiles on one sheet, a film."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

TILE_HW = (180, 240)
COLUMNS = 3
FRAME_MS = 150


def tile_of(
    title: str, problem: str, seen: NDArray[np.uint8] | None, end: NDArray[np.uint8]
) -> Image.Image:
    """What the camera saw with its masks, and the world at the end, under a line of words."""
    height, width = TILE_HW
    tile = Image.new("RGB", (2 * width + 6, height + 36), "white")
    for n, picture in enumerate((seen, end)):
        if picture is not None:
            tile.paste(Image.fromarray(picture).resize((width, height)), (n * width, 34))
    draw = ImageDraw.Draw(tile)
    draw.text((4, 3), title, fill="black")
    draw.text((4, 17), problem or "right", fill="firebrick" if problem else "darkgreen")
    return tile


def contact_sheet(tiles: Sequence[Image.Image], columns: int = COLUMNS) -> Image.Image:
    """All tiles in one picture; they have one size.

    Raises:
        ValueError: there are none.
    """
    if not tiles:
        raise ValueError("contact sheet: expected at least one tile, got none")
    wide, high = tiles[0].size
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new("RGB", (wide * columns, high * rows), "white")
    for n, tile in enumerate(tiles):
        sheet.paste(tile, (n % columns * wide, n // columns * high))
    return sheet


def save_film(frames: Sequence[NDArray[np.uint8]], path: Path) -> None:
    """An endless GIF of RGB pictures [H, W, 3]; nothing where there are none."""
    if frames:
        first, *rest = [Image.fromarray(frame) for frame in frames]
        first.save(path, save_all=True, append_images=rest, duration=FRAME_MS, loop=0)
