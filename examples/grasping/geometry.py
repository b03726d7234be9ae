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

"""Grasps and poses for a robot program: shifted, turned, those first that leave most room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from examples.grasping.interface import Pose
from flmm_ros.ros.client.grounding_result import FoundObject, GroundingResult
from flmm_ros.ros.messages.found_target import FoundGrasp, FoundTarget

Box = tuple[Pose, NDArray[np.float64]]  # T_world_box from its middle, full edge lengths [3]

MAX_WIDTH_M = 0.08  # of a Franka Hand
ENOUGH_M = 0.02  # more room than this makes a pose no better
OPENED_M = 0.02  # how much wider than the thing the fingers come: `clearance_m` is from there
SAFE_M = 0.005  # of the clearance that is left
SPARE_M = 0.012  # things reach this much farther than is seen of them
SAME_M = 0.03  # two boxes whose middles are this near are of one thing

# Points of a Franka Hand in the frame of its tips, low and high: the palm, and the opened fingers.
_PARTS_M = (
    ((-0.032, -0.102, -0.112), (0.032, 0.102, -0.046)),
    ((-0.010, -0.054, -0.046), (0.010, 0.054, 0.0)),
)
_STEPS = 9
_TURNS_RAD = sorted(np.radians(np.arange(-75, 105, 15)), key=abs)


def shift(x_m: float, y_m: float, z_m: float) -> Pose:
    """A way without a turn."""
    T = np.eye(4)
    T[:3, 3] = x_m, y_m, z_m
    return T


def turn_in_place(T: Pose, angle_rad: float) -> Pose:
    """A turn about the vertical line through a pose's origin, in the frame of the pose."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    x, y, z = T[:3, 3]
    return np.asarray(shift(x, y, z) @ turn @ shift(-x, -y, -z))


def turned_about(T_world_box: Pose, T_world_tip: Pose) -> list[Pose]:
    """The hand, with the box that it holds turned in place: not at all first, then ever farther,
    through half a turn."""
    return [turn_in_place(T_world_box, turn) @ T_world_tip for turn in _TURNS_RAD]


def is_cut(answer: GroundingResult) -> bool:
    """Whether the first thing reaches to the picture's edge: its middle may be elsewhere."""
    x0, y0, x1, y1 = answer.present[0].box_xyxy_px
    height, width = answer.labels.shape
    return min(x0, y0) <= 0 or x1 >= width or y1 >= height


def boxes_of(things: Sequence[FoundObject], target: FoundTarget, T_world_camera: Pose) -> list[Box]:
    """The boxes of all things but the target, which may be among them by another name."""
    found = [thing.target for thing in things if thing.target is not None]
    others = [t for t in found if np.linalg.norm(t.position_m - target.position_m) > SAME_M]
    return [(T_world_camera @ t.T_frame_box, t.size_m) for t in others]


def by_spare(grasps: Sequence[FoundGrasp]) -> list[tuple[FoundGrasp, float]]:
    """Best grasps first, each with how wide the fingers come in metres: as wide as there is room,
    for a thing's far side was not seen. Less good are grasps with little to spare on each side."""
    worths, openings_m = [], []
    for grasp in grasps:
        opening_m = grasp.width_m + OPENED_M + 2 * max(0.0, grasp.clearance_m - SAFE_M)
        openings_m.append(min(MAX_WIDTH_M, opening_m))
        spare_m = (openings_m[-1] - grasp.width_m) / 2
        worths.append(grasp.score * min(1.0, spare_m / SPARE_M))
    order = np.argsort(-np.array(worths), kind="stable")
    return [(grasps[i], openings_m[i]) for i in order]


def by_room(poses: Sequence[Pose], boxes: Sequence[Box]) -> list[Pose]:
    """Poses of the finger tips, those first where the hand is far enough from all boxes; of equal
    ones the earlier first."""
    return sorted(poses, key=lambda T: -min(ENOUGH_M, room_m(T, boxes)))


def room_m(T_world_tip: Pose, boxes: Sequence[Box]) -> float:
    """From the opened hand to the nearest box; 0 where they meet, infinite without boxes."""
    points = T_world_tip[:3, :3] @ _HAND_M.T + T_world_tip[:3, 3:]  # [3, P]
    nearest = np.inf
    for T_world_box, size_m in boxes:
        inside = T_world_box[:3, :3].T @ (points - T_world_box[:3, 3:])
        outside = np.maximum(np.abs(inside) - size_m[:, None] / 2, 0.0)
        nearest = min(nearest, float(np.linalg.norm(outside, axis=0).min()))
    return nearest


def _grid(low: tuple[float, ...], high: tuple[float, ...]) -> NDArray[np.float64]:
    """Points [P, 3] of a block."""
    axes = [np.linspace(a, b, _STEPS) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)


_HAND_M = np.concatenate([_grid(low, high) for low, high in _PARTS_M])
