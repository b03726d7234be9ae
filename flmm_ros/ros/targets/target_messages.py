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

"""Targets written into messages: into an answer's objects, as poses, as grasps."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped
from numpy.typing import NDArray

from flmm_ros.engine.targets.target import Target
from flmm_ros.msg import GroundedAnswer, GroundedObject
from flmm_ros.ros.messages.poses import point_to_msg, pose_to_msg, vector_to_msg
from flmm_ros.ros.targets.target_finding import Space

LOCATE = "locate"  # the stage of an answer in which its targets are found


def add_targets(msg: GroundedAnswer, space: Space) -> None:
    """Writes the targets into an answer whose objects are in the same order."""
    msg.target_frame = space.header.frame_id
    msg.target_code = getattr(GroundedAnswer, space.code)
    msg.target_text = space.text
    if space.image is not None:
        msg.stages, msg.stage_ms = [*msg.stages, LOCATE], [*msg.stage_ms, space.took_ms]
    for found, target in zip(msg.objects, space.targets, strict=True):
        if target is not None:
            _add_target(found, target, space.T_frame_camera)


def _add_target(msg: GroundedObject, target: Target, T: NDArray[np.float64]) -> None:
    msg.has_target = True
    msg.centroid_m = point_to_msg(T[:3, :3] @ target.centroid_m + T[:3, 3])
    msg.box_pose = pose_to_msg(T @ target.box.T_camera_box)
    msg.box_size_m = vector_to_msg(target.box.size_m)
    msg.is_upright = target.box.is_upright
    msg.valid_depth_ratio = target.valid_ratio
    msg.grasps = [pose_to_msg(T @ grasp.T_camera_grasp) for grasp in target.grasps]
    msg.grasp_width_m = [grasp.width_m for grasp in target.grasps]
    msg.grasp_clearance_m = [grasp.clearance_m for grasp in target.grasps]
    msg.grasp_score = [grasp.score for grasp in target.grasps]


def pose_stamped(space: Space, T_camera: NDArray[np.float64]) -> PoseStamped:
    """A pose [4, 4] of the camera's frame in the target frame."""
    return PoseStamped(header=space.header, pose=pose_to_msg(space.T_frame_camera @ T_camera))


def grasps_to_msg(space: Space, target: Target) -> PoseArray:
    """All grasps of a target, best first."""
    poses = [pose_to_msg(space.T_frame_camera @ g.T_camera_grasp) for g in target.grasps]
    return PoseArray(header=space.header, poses=poses)
