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

"""Answers of a grounding node that nobody gave: for programs that are tested without one."""

import numpy as np
from std_msgs.msg import Header

from examples.grasping.geometry import shift
from flmm_ros.ros.client.grounding_result import FoundObject, GroundingResult
from flmm_ros.ros.messages.found_target import FoundGrasp, FoundTarget

DOWN = np.diag([1.0, -1.0, -1.0, 1.0])  # a hand that points down: closes along y, as the world's
T_WORLD_CAMERA = shift(0.02, -0.03, 0.4) @ DOWN  # right in the picture is x, near is -y
MUG_M, CUBE_M = (0.10, 0.05), (-0.05, 0.02)


def target_at(x_m: float, y_m: float, *, height_m: float = 0.04, grasps: int = 2) -> FoundTarget:
    """A thing 4 cm wide; its grasps, from above, are 1 mm beside its middle and each other."""
    T_camera_world = np.linalg.inv(T_WORLD_CAMERA)
    poses = [
        T_camera_world @ shift(x_m + 0.001 * n, y_m, 0.01) @ DOWN for n in range(1, grasps + 1)
    ]
    return FoundTarget(
        frame="camera",
        centroid_m=np.zeros(3),
        T_frame_box=T_camera_world @ shift(x_m, y_m, height_m / 2),
        size_m=np.array([0.04, 0.04, height_m]),
        is_upright=True,
        valid_depth_ratio=1.0,
        grasps=tuple(FoundGrasp(T, width_m=0.04, clearance_m=0.01, score=0.9) for T in poses),
    )


def answer_of(
    *targets: FoundTarget | None,
    is_ambiguous: bool = False,
    box_xyxy_px: tuple[int, int, int, int] = (1, 1, 2, 2),
) -> GroundingResult:
    """An answer that found something at each of these places, in a picture of 3 x 3 pixels."""
    objects = tuple(
        FoundObject(
            phrase=f"thing {n}",
            score=0.9,
            is_present=True,
            is_ambiguous=is_ambiguous,
            label=n,
            box_xyxy_px=box_xyxy_px,
            center_xy_px=(0.0, 0.0),
            text_span=(0, 0),
            mask=np.ones((3, 3), bool),
            target=target,
        )
        for n, target in enumerate(targets, 1)
    )
    nothing = np.zeros((3, 3), np.uint8)
    return GroundingResult(
        "", "ground", "Which one?", objects, nothing, "OK", "", {}, 0.0, Header(), "OK", "no depth"
    )
