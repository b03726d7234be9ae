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

"""The targets of an answer as markers for RViz."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Pose, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from flmm_ros.engine.masks.overlay import color_of
from flmm_ros.engine.targets.target import Target
from flmm_ros.ros.messages.poses import point_to_msg, pose_to_msg, vector_to_msg
from flmm_ros.ros.targets.target_finding import Space

MARKER_LIFETIME_S = 60
_AXIS_M = 0.03  # length of a grasp's arrows
_AXES = ((0.9, 0.1, 0.1), (0.1, 0.7, 0.1), (0.1, 0.2, 0.9))  # x red, y green, z blue, as in RViz


def markers_to_msg(phrases: Sequence[str], space: Space) -> MarkerArray:
    """For RViz: of each target a box and its phrase, and the axes of its best grasp."""
    markers = [Marker(header=space.header, action=Marker.DELETEALL)]
    for number, (phrase, target) in enumerate(zip(phrases, space.targets, strict=True)):
        if target is not None:
            markers += _markers(phrase, target, space, number)
    return MarkerArray(markers=markers)


def _markers(phrase: str, target: Target, space: Space, number: int) -> list[Marker]:
    red, green, blue = (channel / 255 for channel in color_of(number))
    box_pose = pose_to_msg(space.T_frame_camera @ target.box.T_camera_box)
    size = vector_to_msg(target.box.size_m)

    def marker(namespace: str, kind: int, pose: Pose, scale: Vector3, color: ColorRGBA) -> Marker:
        return Marker(
            header=space.header,
            ns=namespace,
            id=number,
            type=kind,
            action=Marker.ADD,
            pose=pose,
            scale=scale,
            color=color,
            lifetime=Duration(sec=MARKER_LIFETIME_S),
        )

    box = marker("box", Marker.CUBE, box_pose, size, ColorRGBA(r=red, g=green, b=blue, a=0.4))
    white = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    text = marker("phrase", Marker.TEXT_VIEW_FACING, box_pose, Vector3(z=0.03), white)
    text.text = phrase
    found = [box, text]
    if target.grasps:
        pose = pose_to_msg(space.T_frame_camera @ target.grasps[0].T_camera_grasp)
        lines = marker("grasp", Marker.LINE_LIST, pose, Vector3(x=0.004), white)
        for axis, (r, g, b) in enumerate(_AXES):
            end = np.zeros(3)
            end[axis] = _AXIS_M
            lines.points += [point_to_msg(np.zeros(3)), point_to_msg(end)]
            lines.colors += [ColorRGBA(r=r, g=g, b=b, a=1.0)] * 2
        found.append(lines)
    return found
