"""Masks become things in space: the story from depth and mask to points, box and grasps.

    image = RangeImage(depth_m, intrinsics)
    target = image.target(mask)         # points, centroid, oriented box, grasps
    image.points_without([mask])        # the rest of the scene, for a collision map

Everything is in metres in the camera's optical frame: x right, y down, z forward.
Does not know about: models, phrases, ROS.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.targets.ball import find_ball
from flmm_ros.engine.targets.box import box_of, box_of_ball
from flmm_ros.engine.targets.depth import points_from_depth, surface_of, valid_depth
from flmm_ros.engine.targets.grasps import GraspFinder
from flmm_ros.engine.targets.planes import find_support
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.types import Grasp, Intrinsics, Target, TargetError

_AROUND_M = 0.15  # how far the plane below an object is looked for
_NEAR_M = 0.25  # what stands nearer than this can be in a gripper's way
_RIM_PX = 4  # around a mask, where pixels may still show the object
_MAX_FIT_POINTS = 20_000  # more make a box no better


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
        surface = surface_of(mask, self.depth_m, self.config)
        points = self.points_m[surface]
        step = 1 + len(points) // _MAX_FIT_POINTS
        fitted = points[::step].astype(np.float64)
        near = self._near(mask, fitted)
        around = near & ~self._grown(np.logical_or.reduce([mask, *others]))
        support = find_support(fitted, self.points_m[around], self._up)
        pixel_rad = 2.0 / (self.intrinsics.fx_px + self.intrinsics.fy_px)
        ball = find_ball(fitted, support)
        box = box_of(fitted, pixel_rad, support) if ball is None else box_of_ball(ball, support)
        grasps: tuple[Grasp, ...] = ()
        if self.config.grasps:
            obstacles = self.points_m[near & ~self._grown(mask)]
            touched = fitted if ball is None else ball.surface_m()
            grasps = GraspFinder(touched, obstacles, box, support, self.config).find()
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

    def _near(self, mask: NDArray[np.bool_], points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Pixels [H, W] whose points are close to the object: on its plane, or in the way."""
        low, high = points.min(axis=0) - _AROUND_M, points.max(axis=0) + _AROUND_M
        inside = ((self.points_m >= low) & (self.points_m <= high)).all(axis=-1)
        return np.asarray(self.valid & inside, bool)

    def _grown(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        kernel = np.ones((2 * _RIM_PX + 1, 2 * _RIM_PX + 1), np.uint8)
        return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)
