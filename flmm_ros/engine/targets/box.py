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

"""The oriented box around the points of one object.

Upright on the plane below it where there is one; otherwise along the object's flat faces, or along
its principal axes. Flat faces take the noise out of the points on them, so that a box is as exact
as the pixels and not as the depth.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.targets.ball import Ball
from flmm_ros.engine.targets.planes import Face, Plane, Points, find_faces, tolerance_m
from flmm_ros.engine.targets.target import Box

_MUCH_SMALLER = 0.6  # a box along the faces beats the upright one below this share of its volume
_SQUARE = np.cos(np.radians(80))  # two faces at 80..100 degrees are two sides of one box
_LEVEL = np.cos(np.radians(15))  # a free box with an axis this near the plane's normal stands
_PARALLEL = np.cos(np.radians(10))
_RIM = 0.35  # pixels from the outermost middles to the outline; 0 to 1, less for slanted outlines
_TRIM = 0.2  # per cent of the points that may stick out on each side, where they are not on a face


def box_of(points_m: Points, pixel_rad: float, support: Plane | None = None) -> Box:
    """The box around points [P, 3] that a camera at the origin sees.

    pixel_rad: the angle a pixel covers (1 / focal length); points are the middles of pixels, and
    the surface goes on for half of one. support: the plane the object stands on.
    """
    faces = find_faces(points_m)
    points = without_noise(points_m, faces)
    pixel_m = pixel_rad * float(np.median(points[:, 2]))
    if support is None:
        return _tight(points, faces, pixel_m)
    upright = _along(points, _axes(support.normal, points, faces), faces, pixel_m, support)
    free = _tight(points, faces, pixel_m)
    # Less the part between object and plane, which the upright box fills and the free one need not.
    is_smaller = np.prod(free.size_m) < _MUCH_SMALLER * np.prod(upright.size_m)
    is_tilted = np.abs(free.T_camera_box[:3, :3].T @ support.normal).max() < _LEVEL
    return free if is_smaller and is_tilted and _is_boxy(faces) else upright


def _is_boxy(faces: list[Face]) -> bool:
    """Flat faces at right angles are nearly all there is to see."""
    if len(faces) < 2:
        return False
    share = np.any([face.is_on for face in faces], axis=0).mean()
    return bool(share > 0.8 and abs(faces[0].plane.normal @ faces[1].plane.normal) < _SQUARE)


def box_of_ball(ball: Ball, support: Plane | None) -> Box:
    """The cube around a ball, upright where there is a plane below it."""
    axes = np.eye(3) if support is None else _axes(support.normal, ball.surface_m(), [])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = axes, ball.middle_m
    return Box(pose, np.full(3, 2 * ball.radius_m), is_upright=support is not None)


def without_noise(points_m: Points, faces: list[Face]) -> NDArray[np.float64]:
    """The points [P, 3], those of faces moved along their line of sight onto the face.

    Where two faces meet, a point near both belongs to the one farther along its line of sight:
    the other one has ended there, as on every edge that points to the camera.
    """
    points = np.array(points_m, np.float64)
    tolerance = tolerance_m(points_m)
    scale = np.zeros(len(points))
    for face in faces:
        along = points @ face.plane.normal
        is_steep = np.abs(along) < 0.02 * np.linalg.norm(points, axis=1)  # seen edge-on
        is_near = ~is_steep & (np.abs(along - face.plane.offset_m) <= 2 * tolerance)
        onto = face.plane.offset_m / np.where(is_near, along, 1.0)
        scale = np.where(is_near, np.maximum(scale, onto), scale)
    if faces:
        is_moved = np.any([face.is_on for face in faces], axis=0) & (scale > 0)
        points[is_moved] *= scale[is_moved, None]
    return points


def _tight(points: NDArray[np.float64], faces: list[Face], pixel_m: float) -> Box:
    """The smallest of the boxes along each face, or the one along the principal axes."""
    directions = [face.plane.normal for face in faces]
    if not directions:
        centred = points - points.mean(axis=0)
        directions = [np.linalg.svd(centred, full_matrices=False)[2][-1]]
    boxes = [_along(points, _axes(n, points, faces), faces, pixel_m, None) for n in directions]
    return min(boxes, key=lambda box: float(np.prod(box.size_m)))


def _axes(
    up: NDArray[np.float64], points: NDArray[np.float64], faces: list[Face]
) -> NDArray[np.float64]:
    """Axes [3, 3] in columns with z = up; x along a face that stands on it, or such that the box
    is smallest."""
    first = np.eye(3)[int(np.abs(up).argmin())]
    x = np.cross(up, first)
    x /= np.linalg.norm(x)
    y = np.cross(up, x)
    angles = [_smallest_angle(points @ x, points @ y)]
    for face in faces:
        if abs(float(face.plane.normal @ up)) < _SQUARE:
            angles.append(float(np.arctan2(face.plane.normal @ y, face.plane.normal @ x)))
    areas = [_area(points @ x, points @ y, angle) for angle in angles]
    best = angles[0]
    for angle, area in zip(angles[1:], areas[1:], strict=True):
        if area <= 1.08 * areas[0]:  # a fitted face knows its direction better than the outline
            best = angle
            break
    cos, sin = np.cos(best), np.sin(best)
    return np.stack([cos * x + sin * y, -sin * x + cos * y, up], axis=1)


def _smallest_angle(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
    """Direction in radians of a side of the smallest rectangle around points in a plane."""
    middle_u, middle_v = u.mean(), v.mean()
    flat = np.stack([u - middle_u, v - middle_v], axis=1).astype(np.float32)
    return float(np.radians(cv2.minAreaRect(flat)[2]))


def _area(u: NDArray[np.float64], v: NDArray[np.float64], angle: float) -> float:
    cos, sin = np.cos(angle), np.sin(angle)
    return float(np.ptp(cos * u + sin * v) * np.ptp(-sin * u + cos * v))


def _along(
    points: NDArray[np.float64],
    axes: NDArray[np.float64],
    faces: list[Face],
    pixel_m: float,
    support: Plane | None,
) -> Box:
    """The box with these axes around points, reaching down to the support."""
    inside = points @ axes  # [P, 3]
    low, high = np.percentile(inside, [_TRIM, 100 - _TRIM], axis=0)
    # The surface goes on a little beyond the middles of its last pixels, but for where it faces us.
    margin = _RIM * pixel_m * np.sqrt(1 - np.clip(_looking(points) @ axes, -1, 1) ** 2)
    ends = [face.plane.normal @ axes for face in faces]
    low -= margin * ~np.any([end < -_PARALLEL for end in ends] or [[False] * 3], axis=0)
    high += margin * ~np.any([end > _PARALLEL for end in ends] or [[False] * 3], axis=0)
    if support is not None:
        low[2] = min(support.offset_m, high[2] - 1e-4)
    if support is not None and high[0] - low[0] < high[1] - low[1]:
        axes = np.stack([axes[:, 1], -axes[:, 0], axes[:, 2]], axis=1)
        low, high = (
            np.array([low[1], -high[0], low[2]]),
            np.array([high[1], -low[0], high[2]]),
        )
    pose = np.eye(4)
    pose[:3, :3] = axes
    pose[:3, 3] = axes @ ((low + high) / 2)
    return Box(T_camera_box=pose, size_m=high - low, is_upright=support is not None)


def _looking(points: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = points.mean(axis=0)
    return np.asarray(middle / np.linalg.norm(middle))
