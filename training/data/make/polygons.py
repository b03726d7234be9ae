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

"""From masks to the polygons COCO would publish: along the edges of the pixels, so that drawing
them gives the very same mask again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Corner = tuple[int, int]


def has_hole(mask: NDArray[np.bool_]) -> bool:
    """Whether background is enclosed by it; polygons cannot say that, run lengths can."""
    (_, _), part = _cut(mask)
    return bool((ndimage.binary_fill_holes(part) & ~part).any())


def trace(mask: NDArray[np.bool_]) -> list[list[float]]:
    """One polygon x, y, x, y, ... for every connected part of a mask [H, W] without holes.

    Raises:
        ValueError: it has a hole.
    """
    if has_hole(mask):
        raise ValueError("polygons cannot have a hole; use run lengths")
    (x0, y0), part = _cut(mask)
    edges = _edges(part)
    polygons = []
    while edges:
        loop = _loop(edges)
        polygons.append([float(value) for x, y in loop for value in (x + x0, y + y0)])
    return polygons


def _cut(mask: NDArray[np.bool_]) -> tuple[Corner, NDArray[np.bool_]]:
    """The smallest rectangle with all of the mask, and its upper left corner."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return (0, 0), mask[:0, :0]
    x0, y0 = int(columns[0]), int(rows[0])
    return (x0, y0), mask[y0 : rows[-1] + 1, x0 : columns[-1] + 1]


def _edges(mask: NDArray[np.bool_]) -> dict[Corner, list[Corner]]:
    """From each corner (x, y) on the border to the next ones, with the mask on the right hand."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1]
    sides = (  # (neighbour, from, to) as offsets of the pixel's upper left corner
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    edges: dict[Corner, list[Corner]] = {}
    for neighbour, (x0, y0), (x1, y1) in sides:
        for y, x in zip(*(axis.tolist() for axis in np.nonzero(inner & ~neighbour)), strict=True):
            edges.setdefault((x + x0, y + y0), []).append((x + x1, y + y1))
    return edges


def _loop(edges: dict[Corner, list[Corner]]) -> list[Corner]:
    """One closed border, taken out of `edges`. Where two pixels touch at a corner only, the way
    turns right: they are two parts."""
    start = corner = next(iter(edges))
    step: Corner | None = None
    corners = []
    while True:
        ways = edges[corner]
        onward = ways[0]
        if step is not None and len(ways) > 1:
            right = (corner[0] - step[1], corner[1] + step[0])
            onward = right if right in ways else onward
        ways.remove(onward)
        if not ways:
            del edges[corner]
        direction = (onward[0] - corner[0], onward[1] - corner[1])
        if direction != step:  # only where it turns
            corners.append(corner)
        step, corner = direction, onward
        if corner == start:
            return corners
