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

"""An object in space: its points, its oriented box and its grasps, and the camera that saw it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import TargetError


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera: focal lengths and principal point in pixels, whole numbers being pixel
    centres. `distortion` as in OpenCV (plumb bob or rational), empty for a rectified image."""

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (0 < self.fx_px < np.inf and 0 < self.fy_px < np.inf):
            raise TargetError(
                f"camera_info: expected focal lengths above 0 px, got {self.fx_px} and "
                f"{self.fy_px}; is the camera calibrated?"
            )
        if not np.isfinite([self.cx_px, self.cy_px, *self.distortion]).all():
            raise TargetError(
                f"camera_info: expected finite numbers, got c = ({self.cx_px}, {self.cy_px}), "
                f"d = {self.distortion}; is the camera calibrated?"
            )


@dataclass(frozen=True)
class Box:
    """An oriented box: T_camera_box [4, 4] from its middle, full edge lengths [3] along its axes.

    is_upright: it stands on a plane that was found below it; z is that plane's normal, x the
    longer side.
    """

    T_camera_box: NDArray[np.float64]
    size_m: NDArray[np.float64]
    is_upright: bool


@dataclass(frozen=True)
class Grasp:
    """One grasp of a parallel gripper: T_camera_grasp [4, 4] from the point between the finger
    tips; z = approach, y = the line along which the fingers close, x = y cross z.

    width_m lies between the contacts, clearance_m between the opened fingers and the nearest other
    thing, score is 0..1.
    """

    T_camera_grasp: NDArray[np.float64]
    width_m: float
    clearance_m: float
    score: float


@dataclass(frozen=True)
class Target:
    """An object in space, in metres in the camera's optical frame (x right, y down, z forward).

    surface [H, W] bool: the pixels whose depth was used; points_m [P, 3] belong to them, row-major.
    valid_ratio: their share of the mask.
    """

    surface: NDArray[np.bool_]
    points_m: NDArray[np.float32]
    centroid_m: NDArray[np.float64]
    box: Box
    valid_ratio: float
    grasps: tuple[Grasp, ...] = ()
