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

"""Grasps of a parallel gripper, from the points of an object and of what stands around it.

Candidates come from above, all around, and from the object's sides along its box; each is a slab of
points between two fingers. It is kept where the opened fingers and the palm touch nothing, and
scored by how squarely the pads would meet the surface, how much room there is, and how near the
middle it is. A grasp's frame lies between the finger tips: z = approach, y = closing line,
x = y cross z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.targets.planes import Plane, Points
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Box, Grasp

MAX_CLEARANCE_M = 0.05  # farther away nothing matters

_VOXEL_M = 0.0025
_MAX_CUBES = 2**62  # numbers of cubes fit into 64 bits
_TURNS = 12  # closing lines tried over half a turn
_OPENED_M = 0.02  # how much wider than the object the fingers are when they come
_MIN_CLEARANCE_M = 0.003
_PALM_HALF_M = (0.03, 0.08, 0.03)  # beyond the fingers, along x, y and z
_ON_PLANE_M = 0.006  # points this close to the support are the support
_MIN_SLAB_POINTS = 6
_WALL_FACTOR = 0.75  # a grasp of one wall of a hollow thing turns in the fingers more easily


_MAX_HIDDEN = 0.1  # of the fingers, inside the object where nobody has seen it
_FILL = np.stack(np.meshgrid(*[np.linspace(-0.9, 0.9, 4)] * 3), axis=-1).reshape(-1, 3)

Hidden = Callable[[NDArray[np.float64]], NDArray[np.bool_]]


@dataclass(frozen=True)
class _Span:
    """What lies between the fingers along the closing line."""

    low_m: float
    high_m: float
    squareness: float  # 0..1
    is_wall: bool

    @property
    def width_m(self) -> float:
        return self.high_m - self.low_m


class GraspFinder:
    """Grasps of one object.

    Args:
        points_m: [P, 3] of the object's surface, in the camera's frame.
        obstacles_m: [Q, 3] of everything else that is near.
        support: the plane it stands on, if it was found.
        is_hidden: of points [P, 3], which [P] lie behind something that the camera sees. Inside
            the object's box that is taken for the object, and no finger goes there.
    """

    def __init__(
        self,
        points_m: Points,
        obstacles_m: Points,
        box: Box,
        support: Plane | None,
        config: TargetConfig,
        is_hidden: Hidden = lambda points: np.zeros(len(points), bool),
    ) -> None:
        self._is_hidden = is_hidden
        self._points = _thinned(points_m, _VOXEL_M)
        self._obstacles = _thinned(obstacles_m, 2 * _VOXEL_M)
        if support is not None and len(self._obstacles):
            self._obstacles = self._obstacles[support.heights_m(self._obstacles) > _ON_PLANE_M]
        self._box, self._support, self._config = box, support, config
        self._middle = box.T_camera_box[:3, 3]
        self._looking = self._middle / np.linalg.norm(self._middle)

    def find(self) -> tuple[Grasp, ...]:
        """The best grasps, best first; none where nothing fits."""
        found: list[Grasp] = []
        for approach, closing in self._directions():
            R = np.stack([np.cross(closing, approach), closing, approach], axis=1)
            found += self._grasps_along(R)
        found.sort(key=lambda grasp: -grasp.score)
        return tuple(found[: self._config.max_grasps])

    def _directions(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Pairs of approach and closing line, both of length 1 and at right angles."""
        axes = self._box.T_camera_box[:3, :3]
        if self._box.is_upright:
            up = axes[:, 2]
            for closing in _turned(axes[:, 0], up):
                yield -up, closing
            for side in (axes[:, 0], -axes[:, 0], axes[:, 1], -axes[:, 1]):
                if side @ self._looking > -0.1:  # not from behind, where nothing was seen
                    yield side, np.cross(up, side)
            return
        for side in np.concatenate([axes.T, -axes.T]):
            if side @ self._looking > 0.5:
                across = axes[:, int(np.abs(side @ axes).argmin())]
                for closing in _turned(across, side):
                    yield side, closing

    def _grasps_along(self, R: NDArray[np.float64]) -> Iterator[Grasp]:
        """Grasps with the axes R, at a few places across the closing line."""
        points = (self._points - self._middle) @ R
        others = (self._obstacles - self._middle) @ R
        length_m = float(np.ptp(points[:, 0]))
        middle_x = float(points[:, 0].min() + length_m / 2)
        steps = (-0.3, 0.0, 0.3) if length_m > self._config.finger_width_m else (0.0,)
        for step in steps:
            x = middle_x + step * length_m
            slab = points[np.abs(points[:, 0] - x) <= self._config.finger_width_m / 2]
            if len(slab) < _MIN_SLAB_POINTS:
                continue
            tip_z = self._tip_z(slab, R)
            low_m, high_m = _percentiles(slab[:, 1], (1, 99))
            for span in self._spans(slab[slab[:, 2] <= tip_z], x):
                origin = np.array([x, (span.low_m + span.high_m) / 2, tip_z])
                clearance_m = self._clearance_m(R, origin, span.width_m, points, others)
                if clearance_m >= _MIN_CLEARANCE_M:
                    pose = np.eye(4)
                    pose[:3, :3], pose[:3, 3] = R, self._middle + R @ origin
                    score = self._score(R, origin, span, high_m - low_m, clearance_m)
                    yield Grasp(pose, span.width_m, clearance_m, score)

    def _tip_z(self, slab: NDArray[np.float64], R: NDArray[np.float64]) -> float:
        """How far the finger tips go: as deep as the fingers allow and the support leaves room."""
        deepest = _percentiles(slab[:, 2], (2,))[0] + self._config.finger_length_m - 0.005
        if self._support is None:
            return min(deepest, float(slab[:, 2].max()) + 0.01)
        slope = float(R[:, 2] @ self._support.normal)
        if slope > -0.5:  # from the side: no farther than a little behind the middle
            return min(deepest, 0.01)
        height = float(self._support.heights_m(self._middle[None])[0])
        return min(deepest, (height - self._config.finger_clearance_m) / -slope)

    def _spans(self, zone: NDArray[np.float64], x: float) -> Iterator[_Span]:
        """The whole zone, and each wall of a hollow one, that fits between the fingers."""
        if len(zone) < _MIN_SLAB_POINTS:
            return
        zone = zone[zone[:, 1].argsort()]
        room_m = self._config.finger_thickness_m + 2 * _MIN_CLEARANCE_M
        cuts = 1 + np.flatnonzero(np.diff(zone[:, 1]) > room_m)
        pieces = [zone, *np.split(zone, cuts)] if len(cuts) else [zone]
        for number, piece in enumerate(pieces):
            odd = len(piece) // 100  # points on each side that may stick out
            low, high = piece[odd, 1], piece[-1 - odd, 1]
            is_narrow = high - low <= self._config.gripper_opening_m - 2 * _MIN_CLEARANCE_M
            if is_narrow and len(piece) >= _MIN_SLAB_POINTS:
                squareness = _squareness(piece, x, self._config.finger_width_m)
                yield _Span(float(low), float(high), squareness, number > 0)

    def _clearance_m(
        self,
        R: NDArray[np.float64],
        origin: NDArray[np.float64],
        width_m: float,
        points: NDArray[np.float64],
        others: NDArray[np.float64],
    ) -> float:
        """From opened fingers and palm to the nearest other thing; 0 where they touch anything."""
        opening_m = min(width_m + _OPENED_M, self._config.gripper_opening_m)
        parts = _gripper(origin, opening_m, self._config)
        if self._meets_support(R, parts):
            return 0.0
        if sum(int((_distances_m(points, part) <= 0).sum()) for part in parts) > 2:
            return 0.0
        if self._meets_hidden(R, parts[:2]):
            return 0.0
        nearest = [float(_distances_m(others, part).min()) for part in parts if len(others)]
        return min([MAX_CLEARANCE_M, *nearest])

    def _meets_support(self, R: NDArray[np.float64], parts: tuple[_Part, ...]) -> bool:
        if self._support is None:
            return False
        signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), axis=-1).reshape(-1, 3)
        corners = np.concatenate([middle + signs * half for middle, half in parts])
        heights = self._support.heights_m(self._middle + corners @ R.T)
        return bool(heights.min() < self._config.finger_clearance_m - 1e-6)

    def _meets_hidden(self, R: NDArray[np.float64], fingers: tuple[_Part, ...]) -> bool:
        """A finger would go into what is likely the far side of the object."""
        samples = np.concatenate([middle + _FILL * half for middle, half in fingers])
        samples = self._middle + samples @ R.T
        inside = (samples - self._middle) @ self._box.T_camera_box[:3, :3]
        is_inside = (np.abs(inside) < self._box.size_m / 2 - _MIN_CLEARANCE_M).all(axis=1)
        return bool(self._is_hidden(samples[is_inside]).sum() > _MAX_HIDDEN * len(samples))

    def _score(
        self,
        R: NDArray[np.float64],
        origin: NDArray[np.float64],
        span: _Span,
        slab_width_m: float,
        clearance_m: float,
    ) -> float:
        """0..1, a product: one bad reason is enough to do without a grasp."""
        size = np.abs(self._box.T_camera_box[:3, :3].T @ R).T @ self._box.size_m
        off = np.abs(origin[:2]) / np.maximum(size[:2] / 2, 1e-3)
        centred = float(np.exp(-0.7 * off[0] ** 2 - (0.0 if span.is_wall else 0.7 * off[1] ** 2)))
        room = 0.5 + 0.5 * min(1.0, clearance_m / 0.02)
        fits = 1.0 - 0.4 * (span.width_m / self._config.gripper_opening_m) ** 4
        # Along the line of sight the far contact was not seen.
        seen = 1.0 - 0.3 * float(R[:, 1] @ self._looking) ** 2
        if span.is_wall:
            held = _WALL_FACTOR
        else:  # wider below the tips than between them: it slips out
            held = min(1.0, span.width_m / max(slab_width_m, 1e-6)) ** 2
        from_above = 1.0
        if self._support is not None:
            from_above = 0.7 + 0.3 * max(0.0, float(-R[:, 2] @ self._support.normal))
        score = span.squareness * centred * room * fits * seen * held * from_above
        return float(np.clip(score, 0.0, 1.0))


_Part = tuple[NDArray[np.float64], NDArray[np.float64]]  # middle and half edges [3] of a box


def _gripper(
    origin: NDArray[np.float64], opening_m: float, config: TargetConfig
) -> tuple[_Part, _Part, _Part]:
    """Two fingers and the palm, opened, in the grasp's axes."""
    half = np.array([config.finger_width_m, config.finger_thickness_m, config.finger_length_m]) / 2
    aside = np.array([0.0, opening_m / 2 + half[1], 0.0])
    middle = origin - [0.0, 0.0, half[2]]
    palm_half = np.array(_PALM_HALF_M)
    palm = origin - [0.0, 0.0, config.finger_length_m + palm_half[2]]
    return (middle - aside, half), (middle + aside, half), (palm, palm_half)


def _distances_m(points: NDArray[np.float64], part: _Part) -> NDArray[np.float64]:
    """From points [P, 3] to a box; 0 inside."""
    middle, half = part
    outside = np.maximum(np.abs(points - middle) - half, 0.0)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", outside, outside)))


def _squareness(piece: NDArray[np.float64], x: float, finger_width_m: float) -> float:
    """How squarely pads meet the two ends of a piece, 0..1: from its ends in three strips."""
    edges = x + finger_width_m * np.array([-0.5, -1 / 6, 1 / 6, 0.5])
    ends = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):  # noqa: RUF007  arrays
        strip = piece[(piece[:, 0] >= low) & (piece[:, 0] <= high), 1]
        if len(strip) >= 2:
            ends.append(((low + high) / 2, strip.min(), strip.max()))
    if len(ends) < 2:
        return 0.5  # a thin piece: one strip says nothing about its direction
    at, lows, highs = np.array(ends).T
    at = at - at.mean()
    slope_low, slope_high = at @ lows / (at @ at), at @ highs / (at @ at)
    return float(1 / ((1 + slope_low**2) * (1 + slope_high**2)))


def _turned(first: NDArray[np.float64], axis: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Directions at right angles to the axis, from `first` on over half a turn."""
    second = np.cross(axis, first)
    for turn in range(_TURNS):
        angle = np.pi * turn / _TURNS
        yield np.cos(angle) * first + np.sin(angle) * second


def _thinned(points_m: Points, voxel_m: float) -> NDArray[np.float64]:
    """One of the points [P, 3] for each cube of voxel_m."""
    points = np.asarray(points_m, np.float64).reshape(-1, 3)
    if not len(points):
        return points
    cubes = np.floor(points / voxel_m).astype(np.int64)
    extent = np.ptp(cubes.astype(np.float64), axis=0) + 1
    if extent.prod() < _MAX_CUBES:  # one number for a cube sorts several times faster than three
        keys = np.ravel_multi_index((cubes - cubes.min(axis=0)).T, extent.astype(np.int64))
        _, first = np.unique(keys, return_index=True)
    else:
        _, first = np.unique(cubes, axis=0, return_index=True)
    return points[np.sort(first)]


def _percentiles(values: NDArray[np.float64], percents: Sequence[float]) -> list[float]:
    """Those of numpy.percentile, which takes a tenth of a millisecond for a few values: the search
    asks hundreds of times."""
    ordered = np.sort(values)
    ranks = np.asarray(percents) / 100 * (len(ordered) - 1)
    return [float(v) for v in np.interp(ranks, np.arange(len(ordered)), ordered)]
