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

"""Masks become things in space: the story from depth and mask to points, box and grasps.

    image = RangeImage(depth_m, intrinsics)
    target = image.target(mask)         # points, centroid, oriented box, grasps
    image.points_without([mask])        # the rest of the scene, for a collision map

Everything is in metres in the camera's optical frame: x right, y down, z forward.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.targets.ball import find_ball
from flmm_ros.engine.targets.box import box_of, box_of_ball
from flmm_ros.engine.targets.depth import points_from_depth, surface_of, valid_depth
from flmm_ros.engine.targets.grasps import GraspFinder
from flmm_ros.engine.targets.planes import Plane, find_support, tolerance_m
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Grasp, Intrinsics, Target

_AROUND_M = 0.15  # how far the plane below an object is looked for
_NEAR_M = 0.25  # what stands nearer than this can be in a gripper's way
_BEHIND_M = 0.008  # how far behind a surface something is hidden, and not on it
_RIM_PX = 4  # around a mask, where pixels may still show the object
_MIN_ABOVE = 0.5  # of a mask; less than that above the plane: a flat thing
_MAX_OBSTACLES = 20_000
_MAX_FIT_POINTS = 6_000  # more make a box no better


class RangeImage:
    """One depth image of one camera.

    Args:
        depth_m: float32 [H, W] along the optical axis; NaN, 0 or infinite = none.
        up: the direction against gravity in the camera's frame, where it is known.
    """

    def __init__(
        self,
        depth_m: NDArray[np.float32],
        intrinsics: Intrinsics,
        config: TargetConfig | None = None,
        up: NDArray[np.float64] | None = None,
    ) -> None:
        if depth_m.ndim != 2:
            raise TargetError(f"depth: expected metres [H, W], got shape {depth_m.shape}")
        self.config, self.intrinsics = config or TargetConfig(), intrinsics
        self.depth_m = np.asarray(depth_m, np.float32)
        self.valid = valid_depth(self.depth_m, self.config.max_depth_m)
        self.points_m = points_from_depth(self.depth_m, intrinsics)  # [H, W, 3]
        self._up = up

    def target(self, mask: NDArray[np.bool_], others: Sequence[NDArray[np.bool_]] = ()) -> Target:
        """The object of a mask [H, W].

        others: masks of further objects, which are not what this one stands on.

        Raises:
            TargetError: the mask has too few pixels of valid depth, or another size than the depth.
        """
        pixel_rad = 2.0 / (self.intrinsics.fx_px + self.intrinsics.fy_px)
        surface = surface_of(mask, self.depth_m, self.config, pixel_rad)
        seen = self._some(surface, _MAX_FIT_POINTS)
        near = self._near(seen)
        around = near & ~self._grown(np.logical_or.reduce([mask, *others]))
        support = find_support(seen, self._some(around, _MAX_FIT_POINTS), self._up)
        if support is not None:
            surface = self._without_support(surface, support)
        points = self.points_m[surface]
        fitted = self._some(surface, _MAX_FIT_POINTS)
        ball = find_ball(fitted, support)
        box = box_of(fitted, pixel_rad, support) if ball is None else box_of_ball(ball, support)
        grasps: tuple[Grasp, ...] = ()
        if self.config.grasps:
            obstacles = self._some(near & ~self._grown(mask), _MAX_OBSTACLES)
            touched = fitted if ball is None else ball.surface_m()
            finder = GraspFinder(touched, obstacles, box, support, self.config, self._is_hidden)
            grasps = finder.find()
        return Target(
            surface=surface,
            points_m=points,
            centroid_m=points.astype(np.float64).mean(axis=0),
            box=box,
            valid_ratio=float(surface.sum() / mask.sum()),
            grasps=grasps,
        )

    def points_without(self, masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """The pixels [H, W] with depth that belong to none of the masks nor to their rims."""
        if not masks:
            return self.valid.copy()
        return self.valid & ~self._grown(np.logical_or.reduce(list(masks)))

    def _without_support(self, surface: NDArray[np.bool_], support: Plane) -> NDArray[np.bool_]:
        """The surface [H, W] less what lies on the plane, where the mask has leaked onto it; all of
        it for a thing that is as flat as that."""
        points = self.points_m[surface]
        kept = surface.copy()
        kept[surface] = support.heights_m(points) > tolerance_m(points)
        return kept if kept.sum() >= _MIN_ABOVE * surface.sum() else surface

    def _near(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Pixels [H, W] whose points are close to the object: on its plane, or in the way."""
        low, high = points.min(axis=0) - _AROUND_M, points.max(axis=0) + _AROUND_M
        near = self.valid.copy()
        for axis in (2, 0, 1):  # one after another: three of them at once take much memory
            along = self.points_m[..., axis]
            near &= (along >= low[axis]) & (along <= high[axis])
        return near

    def _is_hidden(self, points_m: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points [P, 3] lie behind what the camera sees; lenses are taken for straight."""
        height, width = self.depth_m.shape
        camera, z = self.intrinsics, np.maximum(points_m[:, 2], 1e-6)
        columns = np.round(camera.fx_px * points_m[:, 0] / z + camera.cx_px).astype(int)
        rows = np.round(camera.fy_px * points_m[:, 1] / z + camera.cy_px).astype(int)
        is_in_view = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        seen_m = self.depth_m[rows.clip(0, height - 1), columns.clip(0, width - 1)]
        with np.errstate(invalid="ignore"):
            return np.asarray(is_in_view & (points_m[:, 2] > seen_m + _BEHIND_M))

    def _grown(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        kernel = np.ones((2 * _RIM_PX + 1, 2 * _RIM_PX + 1), np.uint8)
        return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)

    def _some(self, pixels: NDArray[np.bool_], most: int) -> NDArray[np.float64]:
        """The points [P, 3] of pixels [H, W], evenly fewer where there are very many."""
        chosen = np.flatnonzero(pixels)
        chosen = chosen[:: 1 + len(chosen) // most]
        return np.asarray(self.points_m.reshape(-1, 3)[chosen], np.float64)
