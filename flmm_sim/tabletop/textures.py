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

"""Textures of the simulated table: patterns of things, and planks, tiles or cloth under them.

A texture multiplies a colour, so that a pattern is light and dark of any colour. All are generated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Shade = NDArray[np.float64]
SIDE_PX, TABLE_SIDE_PX = 64, 800  # a table is 2.4 m wide: 3 mm a pixel
DARK = 0.55  # of the colour, where a pattern is dark


def _checker(row: NDArray[np.int_], column: NDArray[np.int_]) -> Shade:
    return np.where((row // 16 + column // 16) % 2, DARK, 1.0)


def _stripes(row: NDArray[np.int_], column: NDArray[np.int_]) -> Shade:
    return np.where((row // 8) % 2, DARK, 1.0)


def _speckles(row: NDArray[np.int_], column: NDArray[np.int_]) -> Shade:
    is_dark = np.random.default_rng(0).random((SIDE_PX // 4, SIDE_PX // 4)) < 0.3
    return np.where(is_dark[row // 4, column // 4], DARK, 1.0)


def _planks(row: NDArray[np.int_], column: NDArray[np.int_]) -> Shade:
    rng = np.random.default_rng(1)
    boards, grain = rng.uniform(0.82, 1.0, 40), rng.uniform(-0.04, 0.04, TABLE_SIDE_PX)
    return np.where(row % 32 < 1, 0.6, np.clip(boards[row // 32] + grain[row], 0, 1))


def _tiles(row: NDArray[np.int_], column: NDArray[np.int_]) -> Shade:
    return np.where((row % 28 < 2) | (column % 28 < 2), 0.75, 1.0)


def _cloth(row: NDArray[np.int_], column: NDArray[np.int_]) -> Shade:
    return np.where((row // 14) % 2, 0.88, 1.0) * np.where((column // 14) % 2, 0.88, 1.0)


_Drawn = Callable[[NDArray[np.int_], NDArray[np.int_]], Shade]
PATTERNS: dict[str, _Drawn] = {"checker": _checker, "stripes": _stripes, "speckles": _speckles}
TABLES: dict[str, _Drawn] = {"planks": _planks, "tiles": _tiles, "cloth": _cloth}


def texture(name: str) -> NDArray[np.uint8]:
    """A texture in shades of grey, uint8 [s, s, 3]."""
    side_px = SIDE_PX if name in PATTERNS else TABLE_SIDE_PX
    row, column = np.indices((side_px, side_px))
    shade = (PATTERNS | TABLES)[name](row, column)
    return np.repeat((shade * 255).astype(np.uint8)[..., None], 3, axis=2)
