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

"""A robot program that does what it is told: look, ask the grounding node, grip, lift or put.

    python -m examples.grasping.robot put the duck to the left of the blue cube

All it knows comes over ROS: words and targets through `GroundingClient`, the rest from the topics
of the arm and the camera. It asks back instead of guessing, and looks again at what it has put. On
another robot, only `ArmClient` changes.
"""

from __future__ import annotations

import sys

import numpy as np
import rclpy

from examples.grasping.geometry import boxes_of, by_room, by_spare, is_cut, shift, turned_about
from examples.grasping.interface import ArmInterface, ClientInterface, Pose
from flmm_ros.ros.client.client import FoundTarget, GroundingClient, GroundingError
from flmm_sim.arm.arm_client import ArmClient

ABOVE_M, LIFT_M, BESIDE_M, ROOM_M, NEAR_M, LOOKS = 0.10, 0.13, 0.10, 0.02, 0.02, 4
Side = tuple[int, int]  # right, near
SIDES: dict[str, Side] = {"left": (-1, 0), "right": (1, 0), "behind": (0, -1), "front": (0, 1)}


def fulfil(client: ClientInterface, arm: ArmInterface, command: str) -> str:
    """Does what is told, and returns what the robot says about it."""
    side = next((SIDES[word] for word in command.split() if word in SIDES), None)
    T_aside = arm.T_world_tip
    for look in range(LOOKS):
        arm.wait_for_picture()
        answer = client.ground(command, timeout_s=60.0, wait_for_node_s=60.0)
        if not answer.present or len(answer.present) < len(answer.objects) or answer.is_ambiguous:
            return answer.error_text or answer.text  # it is not here, or: which one?
        targets = [found.target for found in answer.present[: 2 if side else 1]]
        target, beside = targets[0], targets[1] if len(targets) > 1 else None
        if target is None or (beside is None and len(targets) > 1):
            return f"I cannot tell where it is: {answer.target_text}"
        way = None if side is None or beside is None else way_m(arm, target, beside, side)
        if way is not None and (np.linalg.norm(way) < NEAR_M or (look and is_cut(answer))):
            return f"Done: {command}"  # it lies there, or reaches out of the picture
        things = client.ground("what is on the table?", timeout_s=60.0).present if side else ()
        T = pick(arm, target, skip=look)
        if T is not None and way is None:
            return f"Done: {command}"  # it hangs in the gripper
        if T is not None and way is not None:
            poses = turned_about(arm.T_world_camera @ target.T_frame_box, T)
            boxes = boxes_of(things, target, arm.T_world_camera)
            put(arm, by_room([shift(way[0], way[1], 0.003) @ T for T in poses], boxes)[:3])
        arm.move(T_aside)  # out of the picture
    return f"I could not do it: {command}"


def pick(arm: ArmInterface, target: FoundTarget, skip: int) -> Pose | None:
    """Grips by the best grasp within reach: where the tips hold the thing, None: they do not."""
    grasps = by_spare(target.grasps)
    for grasp, opening_m in grasps[skip:] or grasps:
        T = arm.T_world_camera @ grasp.T_frame_grasp
        arm.open_to(opening_m)
        if arm.move(T @ shift(0, 0, -ABOVE_M)):
            is_there = arm.move(T)  # or else something is in the way, and may have been pushed
            if is_there:
                arm.open_to(0.0)
            T = arm.T_world_tip
            arm.move(shift(0, 0, LIFT_M) @ T)
            return T if is_there and arm.holds_something else None
    return None


def put(arm: ArmInterface, poses: list[Pose]) -> None:
    """Brings what was gripped to the first of these poses where nothing is in the way; lets go."""
    for there in poses:
        is_there = arm.move(shift(0, 0, LIFT_M) @ there) and arm.move(there)
        if is_there or there is poses[-1]:
            break
        arm.move(shift(0, 0, LIFT_M) @ arm.T_world_tip)
    arm.open_to(arm.width_m + ROOM_M)
    arm.move(shift(0, 0, LIFT_M) @ arm.T_world_tip)


def way_m(arm: ArmInterface, target: FoundTarget, beside: FoundTarget, side: Side) -> Pose:
    """From where a thing is to its place beside another [2]; left and near as the camera sees."""
    R = arm.T_world_camera[:3, :3]
    along = side[0] * R[:2, 0] + side[1] * R[:2, 1]
    way = R[:2] @ (beside.position_m - target.position_m)
    return np.asarray(way + BESIDE_M * along / np.linalg.norm(along))


if __name__ == "__main__":
    rclpy.init()
    node = rclpy.create_node("robot")
    with GroundingClient(node) as client:
        try:
            print(fulfil(client, ArmClient(node), " ".join(sys.argv[1:])), flush=True)
        except (GroundingError, TimeoutError) as error:
            sys.exit(f"error: {error}")
    node.destroy_node()
    rclpy.shutdown()
