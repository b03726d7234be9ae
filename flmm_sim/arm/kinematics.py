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

"""Kinematics of a Franka Panda, written out with its Denavit-Hartenberg numbers.

The tip frame lies between the finger pads: z = approach, y = the line along which the fingers
close.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pose = NDArray[np.float64]  # [4, 4]
Joints = NDArray[np.float64]  # [7], radians

LOWER_RAD = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER_RAD = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
REST_RAD = np.array([0.0, -0.5, 0.0, -2.3, 0.0, 1.8, 0.785])  # middle of the room, hand down

# Per joint, Craig's convention: a [m], d [m], alpha [rad]; then flange, hand and finger pads.
_DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
_FLANGE_M, _TIP_M, _HAND_RAD = 0.107, 0.1122, -np.pi / 4
POSITION_M, ANGLE_RAD = 5e-4, 5e-3  # what counts as solved


class UnreachableError(ValueError):
    """The finger tips cannot get to a pose: too far, or joints at their limits."""


def forward(q: Joints) -> tuple[Pose, NDArray[np.float64]]:
    """Pose of the tip in the base frame, and its Jacobian [6, 7]: metres first, then radians."""
    T = np.eye(4)
    frames = []
    for (a, d, alpha), angle in zip(_DH, q, strict=True):
        ca, sa, c, s = np.cos(alpha), np.sin(alpha), np.cos(angle), np.sin(angle)
        T = T @ np.array(
            [
                [c, -s, 0, a],
                [s * ca, c * ca, -sa, -sa * d],
                [s * sa, c * sa, ca, ca * d],
                [0, 0, 0, 1],
            ]
        )
        frames.append(T)
    c, s = np.cos(_HAND_RAD), np.sin(_HAND_RAD)
    hand = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, _FLANGE_M + _TIP_M], [0, 0, 0, 1]])
    T = T @ hand
    axes = np.stack([frame[:3, 2] for frame in frames])
    arms = T[:3, 3] - np.stack([frame[:3, 3] for frame in frames])
    return T, np.vstack([np.cross(axes, arms).T, axes.T])


def solve(target: Pose, near: Joints) -> Joints:
    """Joints that bring the tip to a pose in the base frame, as near to `near` as they are found.

    The gripper is the same turned half around, so that pose counts too.

    Raises:
        UnreachableError: none found; the text says how far off the best try was.
    """
    turned = target @ np.diag([-1.0, -1.0, 1.0, 1.0])
    found, best_m = [], np.inf
    for start in (near, REST_RAD):
        for pose in (target, turned):
            q, off_m, off_rad = iterate(pose, start)
            best_m = min(best_m, off_m)
            if off_m < POSITION_M and off_rad < ANGLE_RAD:
                found.append(q)
        if found:
            return min(found, key=lambda q: float(np.abs(q - near).max()))
    x, y, z = target[:3, 3]
    raise UnreachableError(
        f"expected a pose within the arm's reach, got ({x:.3f}, {y:.3f}, {z:.3f}) m in its base "
        f"frame; the tips come no nearer than {best_m * 1000:.0f} mm"
    )


def iterate(target: Pose, start: Joints) -> tuple[Joints, float, float]:
    """Damped least squares, the free direction drawn to the rest pose: joints, and errors left."""
    q = np.clip(start, LOWER_RAD, UPPER_RAD)
    error = np.zeros(6)
    for _ in range(80):
        T, J = forward(q)
        error = np.concatenate([target[:3, 3] - T[:3, 3], rotation_vector(T, target)])
        if np.linalg.norm(error[:3]) < POSITION_M / 2 and np.linalg.norm(error[3:]) < 1e-3:
            break
        inverse = J.T @ np.linalg.inv(J @ J.T + 1e-4 * np.eye(6))
        step = inverse @ error + (np.eye(7) - inverse @ J) @ (0.05 * (REST_RAD - q))
        q = np.clip(q + np.clip(step, -0.25, 0.25), LOWER_RAD, UPPER_RAD)
    return q, float(np.linalg.norm(error[:3])), float(np.linalg.norm(error[3:]))


def rotation_vector(start: Pose, end: Pose) -> NDArray[np.float64]:
    """The turn from one pose's axes to another's, axis times radians, in the outer frame."""
    R = end[:3, :3] @ start[:3, :3].T
    axis = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    angle = float(np.arccos(np.clip((np.trace(R) - 1) / 2, -1, 1)))
    length = float(np.linalg.norm(axis))
    if length > 1e-9:
        return axis / length * angle
    if angle < 1.0:  # no turn at all
        return np.zeros(3)
    column = int(np.argmax(np.diag(R)))  # half a turn: the axis is a column of R + 1
    half = R[:, column] + np.eye(3)[column]
    return half / np.linalg.norm(half) * angle


def between(start: Pose, end: Pose, share: float) -> Pose:
    """The pose a share of the way along a straight line and an even turn."""
    turn = rotation_vector(start, end) * share
    angle = float(np.linalg.norm(turn))
    pose = start.copy()
    if angle > 1e-9:
        x, y, z = turn / angle
        K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        R = np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
        pose[:3, :3] = R @ start[:3, :3]
    pose[:3, 3] = start[:3, 3] + share * (end[:3, 3] - start[:3, 3])
    return pose
