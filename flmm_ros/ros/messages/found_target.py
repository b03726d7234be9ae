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

"""A located object for robot programs: the fields of a GroundedObject in metres, as numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_ros.msg import GroundedObject
from flmm_ros.ros.messages.poses import matrix_of


@dataclass(frozen=True)
class FoundGrasp:
    """One grasp of a parallel gripper. T_frame_grasp [4, 4] from the point between the finger tips:
    z = approach, y = closing line. Lengths in metres, score 0..1."""

    T_frame_grasp: NDArray[np.float64]
    width_m: float
    clearance_m: float
    score: float


@dataclass(frozen=True)
class FoundTarget:
    """An object in space, in metres in `frame`.

    centroid_m [3]: of the visible surface. T_frame_box [4, 4] and size_m [3]: the oriented box,
    whose middle stands for the object's; z is the plane's normal where is_upright. grasps: best
    first.
    """

    frame: str
    centroid_m: NDArray[np.float64]
    T_frame_box: NDArray[np.float64]
    size_m: NDArray[np.float64]
    is_upright: bool
    valid_depth_ratio: float
    grasps: tuple[FoundGrasp, ...]

    @property
    def position_m(self) -> NDArray[np.float64]:
        """The middle of the box [3]."""
        return self.T_frame_box[:3, 3]


def target_from_msg(msg: GroundedObject, frame: str) -> FoundTarget | None:
    """The object's target; None where it has none. frame: the answer's `target_frame`."""
    if not msg.has_target:
        return None
    numbers = zip(
        msg.grasps, msg.grasp_width_m, msg.grasp_clearance_m, msg.grasp_score, strict=True
    )
    return FoundTarget(
        frame=frame,
        centroid_m=np.array([msg.centroid_m.x, msg.centroid_m.y, msg.centroid_m.z]),
        T_frame_box=matrix_of(msg.box_pose),
        size_m=np.array([msg.box_size_m.x, msg.box_size_m.y, msg.box_size_m.z]),
        is_upright=msg.is_upright,
        valid_depth_ratio=msg.valid_depth_ratio,
        grasps=tuple(
            FoundGrasp(matrix_of(pose), float(width), float(clearance), float(score))
            for pose, width, clearance, score in numbers
        ),
    )
