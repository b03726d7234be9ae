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

"""Depth images of solids by intersecting rays: the truth is a formula and not a renderer's."""

from dataclasses import dataclass

import numpy as np

from flmm_ros.engine.targets.target import Intrinsics

SIZE_HW = (480, 640)
CAMERA = Intrinsics(fx_px=600.0, fy_px=600.0, cx_px=320.0, cy_px=240.0)


def rotation(axis, degrees: float) -> np.ndarray:
    """Rodrigues: a turn around an axis."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K


def directions() -> np.ndarray:
    """[H, W, 3] with z = 1."""
    rows, columns = np.indices(SIZE_HW)
    x = (columns - CAMERA.cx_px) / CAMERA.fx_px
    y = (rows - CAMERA.cy_px) / CAMERA.fy_px
    return np.stack([x, y, np.ones(SIZE_HW)], axis=-1)


@dataclass(frozen=True)
class SolidBox:
    """R: axes in columns, in the camera's frame."""

    middle_m: np.ndarray
    size_m: np.ndarray
    R: np.ndarray

    def depth_m(self) -> np.ndarray:
        start, way = -self.R.T @ self.middle_m, directions() @ self.R
        with np.errstate(divide="ignore"):
            a, b = (
                (-self.size_m / 2 - start) / way,
                (self.size_m / 2 - start) / way,
            )
        enter, leave = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
        return np.where((enter <= leave) & (enter > 0), enter, np.inf)


@dataclass(frozen=True)
class Ball:
    middle_m: np.ndarray
    radius_m: float

    def depth_m(self) -> np.ndarray:
        way = directions()
        a = (way**2).sum(axis=-1)
        b = way @ self.middle_m
        root = b**2 - a * (self.middle_m @ self.middle_m - self.radius_m**2)
        depth = (b - np.sqrt(np.maximum(root, 0))) / a
        return np.where(root >= 0, depth, np.inf)


@dataclass(frozen=True)
class Floor:
    """All points p with normal . p = offset_m."""

    normal: np.ndarray
    offset_m: float

    def depth_m(self) -> np.ndarray:
        depth = self.offset_m / (directions() @ self.normal)
        return np.where(depth > 0, depth, np.inf)


def look(*solids) -> tuple[np.ndarray, np.ndarray]:
    """Depth [H, W] float32 (NaN where nothing is) and labels [H, W]: 0 nothing, i the i-th."""
    depths = np.stack([np.full(SIZE_HW, np.inf), *(s.depth_m() for s in solids)])
    labels = depths.argmin(axis=0)
    nearest = depths.min(axis=0)
    return np.where(np.isfinite(nearest), nearest, np.nan).astype(np.float32), labels


def spoilt(depth_m, *, noise_m: float, holes: float, seed: int = 0) -> np.ndarray:
    """Gaussian noise along the ray, and a share of pixels without depth (speckle and a patch)."""
    rng = np.random.default_rng(seed)
    noisy = depth_m + rng.normal(0, noise_m, depth_m.shape)
    noisy[rng.random(depth_m.shape) < holes] = np.nan
    return noisy.astype(np.float32)
