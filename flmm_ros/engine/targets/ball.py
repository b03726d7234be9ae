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

"""Round things: a camera sees less than half of a ball, yet that half tells where it all is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.targets.planes import Plane, Points, tolerance_m

_ROUNDNESS = 0.05  # root of the mean squared error, as a share of the radius
_MIN_SEEN = 0.6  # of the radius, how wide the seen part is at least: a flat cap tells no radius
_SAMPLES = 2000


@dataclass(frozen=True)
class Ball:
    """Middle [3] and radius in metres."""

    middle_m: NDArray[np.float64]
    radius_m: float

    def surface_m(self) -> NDArray[np.float64]:
        """Points [P, 3] all over the ball, evenly spread (a spiral from pole to pole)."""
        z = 1 - (2 * np.arange(_SAMPLES) + 1) / _SAMPLES
        turn = np.pi * (3 - np.sqrt(5)) * np.arange(_SAMPLES)
        ring = np.sqrt(1 - z**2)
        directions = np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
        return np.asarray(self.middle_m + self.radius_m * directions)


def find_ball(points_m: Points, support: Plane | None) -> Ball | None:
    """The ball whose surface points [P, 3] are, if they are one's.

    |p - m|^2 = r^2 is linear in m and r^2 - |m|^2, so that least squares find both at once.
    """
    middle = points_m.mean(axis=0)
    points = np.asarray(points_m - middle, np.float64)
    system = np.column_stack([2 * points, np.ones(len(points))])
    solution, _, rank, _ = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)
    square = float(solution[3] + solution[:3] @ solution[:3])
    if rank < 4 or square <= 0:
        return None
    ball = Ball(middle + solution[:3], float(np.sqrt(square)))
    tolerance = tolerance_m(points_m)
    errors = np.linalg.norm(points_m - ball.middle_m, axis=1) - ball.radius_m
    is_round = float(np.sqrt((errors**2).mean())) <= min(_ROUNDNESS * ball.radius_m, tolerance)
    is_seen = float(np.ptp(points_m, axis=0).max()) >= 2 * _MIN_SEEN * ball.radius_m
    is_convex = float(ball.middle_m[2]) > float(middle[2])  # a bowl bends the other way
    is_resting = True
    if support is not None:
        height_m = float(support.heights_m(ball.middle_m[None])[0])
        is_resting = height_m >= ball.radius_m - 2 * tolerance
    return ball if is_round and is_seen and is_convex and is_resting else None
