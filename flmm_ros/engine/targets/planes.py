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

"""Planes in point clouds: the one an object stands on, and the flat faces of the object itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.floating]

_TRIALS = 200  # finds a plane that a quarter of the points lie on with 95 % certainty
_SAMPLE = 600  # points that vote; the fit that follows uses all
_FLATNESS = 0.7  # of a plane's points, the share within half the tolerance; a curved patch has less
_ABOVE_SHARE = 0.9  # of an object's points, above the plane that it stands on
_FLOATING = 1.5  # an object that is seen to end this much of its own visible height above a plane
_FLAT_M = 0.02  # or of which only the top is seen: then it is taken to stand on the plane below,
_HIGHEST_M = 0.4  # but not from as high as this
_MIN_SUPPORT_SHARE = 0.25  # of the surroundings, on that plane
_MIN_SUPPORT_POINTS = 60


@dataclass(frozen=True)
class Plane:
    """All points p with normal . p = offset_m; the normal has length 1."""

    normal: NDArray[np.float64]
    offset_m: float

    def heights_m(self, points_m: Points) -> NDArray[np.float64]:
        """Signed distances [P] of points [P, 3]; above is where the normal points."""
        return np.asarray(points_m @ self.normal - self.offset_m, np.float64)


@dataclass(frozen=True)
class Face:
    """A flat part of an object: its plane, facing the camera, and which points [P] lie on it."""

    plane: Plane
    is_on: NDArray[np.bool_]


def tolerance_m(points_m: Points) -> float:
    """How far points of one plane may lie from it: depth cameras err with the distance squared."""
    distance_m = float(np.median(points_m[:, 2]))
    return 0.0025 + 0.003 * distance_m**2


def find_plane(points_m: Points, tolerance: float, seed: int = 0) -> Plane | None:
    """The plane [RANSAC] on which most points [P, 3] lie, facing the camera at the origin.

    None for points that span no plane. The same points give the same plane.
    """
    if len(points_m) < 3:
        return None
    points = np.asarray(points_m, np.float64)
    rng = np.random.default_rng(seed)
    voters = points
    if len(points) > _SAMPLE:
        voters = points[rng.choice(len(points), _SAMPLE, replace=False)]
    a, b, c = voters[rng.integers(len(voters), size=(3, _TRIALS))]
    normals = np.cross(b - a, c - a)  # [trials, 3]
    lengths = np.linalg.norm(normals, axis=1)
    is_plane = lengths > 1e-12
    if not is_plane.any():
        return None
    normals = normals[is_plane] / lengths[is_plane, None]
    offsets = np.einsum("ij,ij->i", normals, a[is_plane])
    votes = (np.abs(voters @ normals.T - offsets) <= tolerance).sum(axis=0)
    best = int(votes.argmax())
    plane = _facing(normals[best], float(offsets[best]))
    for share in (1.0, 1.0, 0.7):  # the last round fits to the middle: neighbours pull less
        is_near = np.abs(plane.heights_m(points)) <= tolerance * share
        if is_near.sum() < 3:
            return plane
        plane = fitted_plane(points[is_near])
    return plane


def fitted_plane(points_m: Points) -> Plane:
    """The plane of least squared distances through points [P, 3], facing the camera."""
    middle = points_m.mean(axis=0)
    centred = points_m - middle
    normal = np.linalg.eigh(centred.T @ centred)[1][:, 0]
    return _facing(normal, float(normal @ middle))


def _facing(normal: NDArray[np.float64], offset_m: float) -> Plane:
    """The camera is at the origin: it sees the side from which the origin looks."""
    return Plane(-normal, -offset_m) if offset_m > 0 else Plane(normal, offset_m)


def find_faces(points_m: Points, *, most: int = 3, min_share: float = 0.06) -> list[Face]:
    """The flat faces of an object, the largest first; none for a round one.

    min_share: of the object's points, that a face has.
    """
    tolerance = tolerance_m(points_m)
    is_left = np.ones(len(points_m), bool)
    faces: list[Face] = []
    while len(faces) < most and is_left.sum() >= max(30, min_share * len(points_m)):
        plane = find_plane(points_m[is_left], tolerance, seed=len(faces))
        if plane is None:
            break
        distances = np.abs(plane.heights_m(points_m))
        is_on = is_left & (distances <= tolerance)
        if is_on.sum() < max(30, min_share * len(points_m)):
            break
        is_left &= ~is_on
        if (distances[is_on] <= tolerance / 2).mean() >= _FLATNESS:
            faces.append(Face(plane, is_on))
    return faces


def find_support(
    object_points_m: Points, around_m: Points, up: NDArray[np.float64] | None = None
) -> Plane | None:
    """The plane an object stands on, its normal pointing to the object's side.

    object_points_m: [P, 3]. around_m: [Q, 3], what is near the object in the image without it.
    up: where known, the direction against gravity; a plane more than 45 degrees off is a wall.
    """
    left = np.asarray(around_m, np.float64)
    min_points = max(_MIN_SUPPORT_POINTS, _MIN_SUPPORT_SHARE * len(left))
    tolerance = tolerance_m(object_points_m)
    for seed in range(3):
        if len(left) < min_points:
            return None
        plane = find_plane(left, tolerance, seed)
        if plane is None:
            return None
        is_on = np.abs(plane.heights_m(left)) <= tolerance
        if is_on.sum() < min_points:
            return None
        if _carries(plane, object_points_m, tolerance, up):
            return plane
        left = left[~is_on]
    return None


def _carries(
    plane: Plane, object_points_m: Points, tolerance: float, up: NDArray[np.float64] | None
) -> bool:
    heights = plane.heights_m(object_points_m)
    is_above = bool((heights > -tolerance).mean() >= _ABOVE_SHARE)
    low, high = np.percentile(heights, [1, 98])
    is_near = bool(low <= max(_FLAT_M, _FLOATING * (high - low)))
    is_near |= bool(high - low < _FLAT_M and low < _HIGHEST_M)
    is_level = up is None or float(plane.normal @ up) >= np.cos(np.radians(45))
    return is_above and is_near and is_level
