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

"""MoveIt: pick up what was named, by the best grasp within reach.

    python -m examples.pick_object the red mug

The grounding node runs with depth and `target_frame:=panda_link0`, MoveIt with its configuration of
a Panda. For obstacles, let MoveIt's octomap read `/grounding_node/scene/points_without_target`:
all that is there, but for what is to be gripped. Needs moveit_py, which comes with a distribution.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray

from flmm_ros import GroundingClient
from flmm_ros.ros.messages.poses import pose_to_msg

ARM, HAND, TIP_LINK = "panda_arm", "hand", "panda_hand_tcp"  # z = approach, y = closing line
APPROACH_M, LIFT_M = 0.10, 0.15


def pick_poses(frame: str, T_frame_grasp: NDArray[np.float64]) -> list[PoseStamped]:
    """Poses of the finger tips: before the grasp, at it, lifted. The frame's z points up."""
    back, lift = np.eye(4), np.eye(4)
    back[2, 3], lift[2, 3] = -APPROACH_M, LIFT_M
    poses = []
    for T in (T_frame_grasp @ back, T_frame_grasp, lift @ T_frame_grasp):
        poses.append(PoseStamped(pose=pose_to_msg(T)))
        poses[-1].header.frame_id = frame
    return poses


def move(moveit: Any, group: str, **goal: Any) -> bool:
    """Plans and carries out one motion of a planning group; False where there is no plan."""
    component = moveit.get_planning_component(group)
    component.set_start_state_to_current_state()
    component.set_goal_state(**goal)
    plan = component.plan()
    return bool(plan) and bool(moveit.execute(plan.trajectory, controllers=[]))


def pick(client: Any, moveit: Any, words: str) -> str:
    """Finds what the words mean and picks it up; returns what the robot says about it."""
    result = client.ground(words, timeout_s=10.0, intent="ground")
    if not result.present or result.is_ambiguous:
        return str(result.error_text or result.text)  # it is not there, or: which one?
    target = result.present[0].target
    if target is None or not target.grasps:
        return f"I see it, but no grasp: {result.target_text}"
    for grasp in target.grasps:
        before, at, lifted = pick_poses(target.frame, grasp.T_frame_grasp)
        move(moveit, HAND, configuration_name="open")
        if all(move(moveit, ARM, pose_stamped_msg=p, pose_link=TIP_LINK) for p in (before, at)):
            move(moveit, HAND, configuration_name="close")
            if move(moveit, ARM, pose_stamped_msg=lifted, pose_link=TIP_LINK):
                return f"Done: {words}"
    return f"I cannot reach it: {words}"


def main() -> None:
    """Picks up what stands on the command line."""
    from moveit.planning import MoveItPy

    words = rclpy.utilities.remove_ros_args(sys.argv)[1:]
    rclpy.init()
    with GroundingClient(rclpy.create_node("pick_object")) as client:
        print(pick(client, MoveItPy(node_name="pick_object_moveit"), " ".join(words)))
    rclpy.shutdown()


if __name__ == "__main__":
    main()
