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

"""How the simulated table is looked at: its shade, the camera's place, the light, and the picture.

`Look` is one way to look, `draw_look` draws one; the physics engine renders it as a `Picture`, at
any scale of the world: everything smaller, camera included, is the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX = 320, 240
NEAR_M, FAR_M = 0.05, 5.0
FOV_DEG = 42.0  # from the picture's upper to its lower edge
LOOK_AT_M = (0.0, 0.01, 0.02)


@dataclass(frozen=True)
class Look:
    """One way to look at the table; metres of the full world, angles as PyBullet has them."""

    shade: tuple[float, float, float]  # of the table, RGB
    distance_m: float
    yaw_deg: float
    pitch_deg: float
    light: tuple[float, float, float]  # direction the light comes from
    ambient: float
    diffuse: float


@dataclass(frozen=True)
class Picture:
    """rgb uint8 [H, W, 3], depth_m float32 [H, W], ids int [H, W] of bodies, -1 where nothing is;
    K and T_world_camera as in `TabletopScene`."""

    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    ids: NDArray[np.int_]
    K: NDArray[np.float64]
    T_world_camera: NDArray[np.float64]


def draw_look(rng: np.random.Generator) -> Look:
    """A random way to look. The order of the draws is part of what a seed means."""
    shade = np.clip(rng.uniform(0.35, 0.75) + rng.uniform(-0.06, 0.06, 3), 0, 1)
    distance_m, yaw_deg = rng.uniform(0.62, 0.8), rng.uniform(-22, 22)
    pitch_deg = rng.uniform(-65, -42)
    light = rng.uniform([-1, -1, 1], [1, 1, 2])
    ambient, diffuse = rng.uniform(0.5, 0.7), rng.uniform(0.3, 0.5)
    return Look(
        (float(shade[0]), float(shade[1]), float(shade[2])),
        float(distance_m),
        float(yaw_deg),
        float(pitch_deg),
        (float(light[0]), float(light[1]), float(light[2])),
        float(ambient),
        float(diffuse),
    )


def intrinsics(size_hw: tuple[int, int], center_xy_px: tuple[float, float]) -> NDArray[np.float64]:
    """K [3, 3] of the camera; center_xy_px: where the optical axis meets the picture."""
    focal_px = size_hw[0] / 2 / np.tan(np.radians(FOV_DEG) / 2)
    cx_px, cy_px = center_xy_px
    return np.array([[focal_px, 0, cx_px], [0, focal_px, cy_px], [0, 0, 1]])


def optical_pose(view: tuple[float, ...]) -> NDArray[np.float64]:
    """World pose [4, 4] of the camera (x right, y down, z forward) from an OpenGL view matrix, 16
    numbers column by column."""
    T_camera_world = np.array(view, np.float64).reshape(4, 4).T
    T_world_gl = np.linalg.inv(T_camera_world)
    return T_world_gl @ np.diag([1.0, -1.0, -1.0, 1.0])
