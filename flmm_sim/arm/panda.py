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

"""A simulated Franka Panda: `go_to` plans a motion, and every physics step `tick` moves the motors
a little further along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_sim.arm.kinematics import (
    POSITION_M,
    Joints,
    Pose,
    between,
    forward,
    iterate,
    rotation_vector,
    solve,
)
from flmm_sim.bullet.arm_body import ArmBody
from flmm_sim.bullet.world import STEP_S, BulletWorld

MAX_WIDTH_M = 0.08
MAX_RAD_S = np.array([2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61])
_STRAIGHT_M = 0.25  # shorter ways are straight lines; longer ones bend, joint by joint
_WAYPOINT_M, _WAYPOINT_RAD = 0.02, 0.1
_SPEED = 0.6  # share of the joints' top speed
_TIP_M_S = 0.25  # top speed on straight lines


@dataclass(frozen=True)
class _Motion:
    """Waypoints [N, 7], and how long the way takes."""

    joints: NDArray[np.float64]
    duration_s: float

    def at(self, time_s: float) -> Joints:
        """Where the joints should be: gentle at both ends (minimum jerk)."""
        t = float(np.clip(time_s / self.duration_s, 0, 1))
        way = t**3 * (10 - 15 * t + 6 * t * t) * (len(self.joints) - 1)
        i = min(int(way), len(self.joints) - 2)
        return self.joints[i] + (way - i) * (self.joints[i + 1] - self.joints[i])


class Panda:
    """One arm in a physics world.

    Args:
        world: the physics world.
        T_world_base: where the arm is bolted down; it must stand upright.
        aside_rad: joints of its place aside, where it begins.
    """

    def __init__(self, world: BulletWorld, T_world_base: Pose, aside_rad: Joints) -> None:
        self._T_world_base = T_world_base
        self._motion = _Motion(np.stack([aside_rad, aside_rad]), 1.0)
        self._time_s = 1.0  # at rest: that motion has ended
        self._finger_m = MAX_WIDTH_M / 2
        self.body = ArmBody(world, T_world_base, aside_rad, self._finger_m)

    @property
    def joints_rad(self) -> Joints:
        """Where the joints are now."""
        return self.body.joints_rad

    @property
    def tip(self) -> Pose:
        """Pose of the finger tips in the world, now."""
        return self._T_world_base @ forward(self.joints_rad)[0]

    @property
    def width_m(self) -> float:
        """How far the fingers are apart."""
        return self.body.width_m

    def go_to(self, T_world_tip: Pose) -> None:
        """Plans a way to a pose and sets out: a straight line where it is short.

        Raises:
            UnreachableError: there is no way; the arm stays as it is.
        """
        goal = np.linalg.inv(self._T_world_base) @ T_world_tip
        now = self.joints_rad
        start = forward(now)[0]
        way_m = float(np.linalg.norm(goal[:3, 3] - start[:3, 3]))
        end = solve(goal, now)
        if way_m < _STRAIGHT_M:
            self._set_out(*_straight(start, forward(end)[0], now, end, way_m))
        else:
            self._set_out([now, end], 0.0)

    def _set_out(self, joints: list[Joints], least_s: float) -> None:
        way = np.stack(joints)
        travelled = np.abs(np.diff(way, axis=0)).sum(axis=0)
        peak = 1.875  # of minimum jerk, beside an even speed
        needed_s = float((travelled * peak / (_SPEED * MAX_RAD_S)).max())
        self._motion = _Motion(way, max(needed_s, least_s, 0.2))
        self._time_s = 0.0

    def open_to(self, width_m: float) -> None:
        """Lets the fingers go to a distance; smaller than what is between them means: grip."""
        self._finger_m = float(np.clip(width_m, 0, MAX_WIDTH_M)) / 2

    def tick(self) -> None:
        """Motor targets for the next physics step."""
        self._time_s += STEP_S
        self.body.drive(self._motion.at(self._time_s), self._finger_m)


def _straight(
    start: Pose, goal: Pose, now: Joints, end: Joints, way_m: float
) -> tuple[list[Joints], float]:
    """Waypoints on a straight line; joint by joint where the line leads out of reach."""
    turn_rad = float(np.linalg.norm(rotation_vector(start, goal)))
    count = max(2, int(np.ceil(max(way_m / _WAYPOINT_M, turn_rad / _WAYPOINT_RAD))))
    joints, q = [now], now
    for i in range(1, count + 1):
        q, off_m, _ = iterate(between(start, goal, i / count), q)
        if off_m > 5 * POSITION_M or np.abs(q - joints[-1]).max() > 0.5:
            return [now, end], 0.0
        joints.append(q)
    return joints, 1.875 * way_m / _TIP_M_S
