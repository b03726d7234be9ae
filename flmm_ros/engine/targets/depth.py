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

"""From a depth image to points, and which pixels of a mask show the object and nothing else.

Masks reach a little over edges, cameras mix near and far there, and depth has holes. So a mask is
first made smaller; the part that hangs together in depth is kept, then the rim is taken back where
its depth agrees with the inside.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Intrinsics

_STEEPEST = 10.0  # depth over width of a pixel: 84 degrees; mixed pixels look steeper than that
_MIN_GAP_M = 0.004  # noise makes steps as well
_VEIL_PX = 3
_MIN_PART_SHARE = 0.01  # of the largest piece
_MIN_CORE_SHARE = 0.4  # of a mask; a thin thing is eroded less, down to nothing


@lru_cache(maxsize=8)
def rays(intrinsics: Intrinsics, size_hw: tuple[int, int]) -> NDArray[np.float32]:
    """The direction [H, W, 3] in which each pixel looks, with z = 1. Read-only."""
    height, width = size_hw
    columns, rows = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    if intrinsics.distortion:
        K = np.array(
            [
                [intrinsics.fx_px, 0, intrinsics.cx_px],
                [0, intrinsics.fy_px, intrinsics.cy_px],
                [0, 0, 1],
            ]
        )
        pixels = np.stack([columns, rows], axis=-1).reshape(-1, 1, 2)
        flat = cv2.undistortPoints(pixels, K, np.array(intrinsics.distortion))
        x, y = flat.reshape(height, width, 2).transpose(2, 0, 1)
    else:
        x = (columns - intrinsics.cx_px) / intrinsics.fx_px
        y = (rows - intrinsics.cy_px) / intrinsics.fy_px
    directions = np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32)
    directions.setflags(write=False)
    return directions


def points_from_depth(depth_m: NDArray[np.float32], intrinsics: Intrinsics) -> NDArray[np.float32]:
    """Points [H, W, 3] in metres in the optical frame; NaN where the depth is."""
    return rays(intrinsics, (depth_m.shape[0], depth_m.shape[1])) * depth_m[..., None]


def valid_depth(depth_m: NDArray[np.floating], max_depth_m: float) -> NDArray[np.bool_]:
    """The pixels [H, W] that have a depth at all."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(depth_m) & (depth_m > 0) & (depth_m <= max_depth_m)


def surface_of(
    mask: NDArray[np.bool_],
    depth_m: NDArray[np.float32],
    config: TargetConfig,
    pixel_rad: float,
) -> NDArray[np.bool_]:
    """The pixels [H, W] of a mask that show the object's surface.

    pixel_rad: the angle that a pixel covers.

    Raises:
        TargetError: mask and depth differ in size, or too few pixels are left.
    """
    if mask.shape != depth_m.shape:
        raise TargetError(
            f"depth: expected {mask.shape[1]}x{mask.shape[0]} pixels like the image, got "
            f"{depth_m.shape[1]}x{depth_m.shape[0]}; remap depth to the topic that is registered "
            "to the colour image (aligned_depth_to_color, depth_registered)"
        )
    surface = np.zeros_like(mask)
    if mask.any():
        window = _window(mask)
        depth = depth_m[window].astype(np.float64)
        depth[~np.isfinite(depth)] = np.nan
        surface[window] = _surface(mask[window], depth, config, pixel_rad)
    count = int(surface.sum())
    if count < config.min_depth_px:
        raise TargetError(
            f"expected at least {config.min_depth_px} pixels of depth (parameter min_depth_px), "
            f"got {count} of a mask of {int(mask.sum())}; is it too near, shiny, transparent or "
            f"beyond {config.max_depth_m:g} m?"
        )
    return surface


def _window(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Around the mask, with what veils are told by."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(0, rows[0] - _VEIL_PX), max(0, columns[0] - _VEIL_PX)
    return slice(top, rows[-1] + 1 + _VEIL_PX), slice(left, columns[-1] + 1 + _VEIL_PX)


def _surface(
    mask: NDArray[np.bool_], depth_m: NDArray[np.float64], config: TargetConfig, pixel_rad: float
) -> NDArray[np.bool_]:
    gap_m = np.minimum(np.maximum(_STEEPEST * pixel_rad * depth_m, _MIN_GAP_M), config.depth_gap_m)
    valid = mask & valid_depth(depth_m, config.max_depth_m) & ~_veils(depth_m, gap_m)
    core = _eroded(mask, config.erosion_px) & valid
    if not core.any():
        return core
    parts = _continuous_parts(valid, depth_m, gap_m)
    sizes = np.bincount(parts[core], minlength=parts.max() + 1)
    main = int(sizes.argmax())
    nearest, farthest = _range(depth_m[(parts == main) & core])
    kept = np.zeros(len(sizes), bool)
    kept[main] = True
    for part in np.flatnonzero(sizes >= _MIN_PART_SHARE * sizes[main]):
        # Holes cut a surface in pieces: those at its depth stay. A line of pixels that the camera
        # has mixed of near and far is a piece as well, but a thin one.
        piece = parts == part
        if cv2.erode(piece.astype(np.uint8), np.ones((3, 3), np.uint8)).any():
            near, far = _range(depth_m[piece & core])
            kept[part] |= (
                near <= farthest + config.depth_gap_m and far >= nearest - config.depth_gap_m
            )
    is_kept = valid & kept[parts]
    core &= is_kept
    rim = is_kept & ~core
    if rim.any():
        away_px, (rows, columns) = distance_transform_edt(~core, return_indices=True)
        jump_m = np.abs(depth_m - depth_m[rows, columns])
        is_kept &= core | (jump_m <= gap_m[rows, columns] * np.minimum(away_px, 3))
    return np.asarray(is_kept, bool)


def _veils(depth_m: NDArray[np.float64], gap_m: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels [H, W] that hang between something near and something far: the camera has mixed the
    two. They lie in lines along edges, one or two pixels wide."""
    is_veil = np.zeros(depth_m.shape, bool)
    far = np.nan_to_num(depth_m, nan=0.0)
    for axis in (0, 1):
        before, after = np.roll(far, _VEIL_PX, axis), np.roll(far, -_VEIL_PX, axis)
        down, up = far - before, after - far
        hangs = (np.minimum(np.abs(down), np.abs(up)) > 2 * gap_m) & (down * up > 0)
        hangs &= (before > 0) & (after > 0)
        ends = np.arange(depth_m.shape[axis])  # rolled around from the other side
        is_inside = (ends >= _VEIL_PX) & (ends < len(ends) - _VEIL_PX)
        is_veil |= hangs & np.expand_dims(is_inside, 1 - axis)
    return is_veil


def _range(depth_m: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(depth_m, [2, 98])  # a few wrong pixels must not bridge a gap
    return float(low), float(high)


def _eroded(mask: NDArray[np.bool_], erosion_px: int) -> NDArray[np.bool_]:
    """The mask without its rim; a thin one keeps more. Then the largest connected piece."""
    padded = np.pad(mask, 1).astype(np.uint8)  # outside of the window the mask has ended
    core = padded
    for width_px in range(erosion_px, 0, -1):
        kernel = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
        core = cv2.erode(padded, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        if core.sum() >= _MIN_CORE_SHARE * padded.sum():
            break
    else:
        core = padded
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(core, connectivity=8)
    if count > 2:
        core = (labels == 1 + statistics[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    return core[1:-1, 1:-1].astype(bool)


def _continuous_parts(
    valid: NDArray[np.bool_], depth_m: NDArray[np.float64], gap_m: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Labels [H, W] of pixels that are joined by steps of at most gap_m [H, W]; 0 where not valid.

    Steps lead to the four neighbours, and over one missing pixel: speckle does not cut a surface.
    """
    ids = np.arange(valid.size).reshape(valid.shape)
    starts, ends = [], []
    for step in (1, 2):
        for a, b in (
            ((slice(None), slice(None, -step)), (slice(None), slice(step, None))),
            ((slice(None, -step), slice(None)), (slice(step, None), slice(None))),
        ):
            near = valid[a] & valid[b]
            near &= np.abs(np.where(near, depth_m[a] - depth_m[b], np.inf)) <= gap_m[a]
            starts.append(ids[a][near])
            ends.append(ids[b][near])
    row, column = np.concatenate(starts), np.concatenate(ends)
    graph = coo_matrix((np.ones(len(row), bool), (row, column)), shape=(valid.size, valid.size))
    _, labels = connected_components(graph, directed=False)
    return np.where(valid, labels.reshape(valid.shape) + 1, 0).astype(np.int64)
