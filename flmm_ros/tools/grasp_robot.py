"""A robot program that does what it is told: look, ask the grounding node, grip, lift or put.

    python -m flmm_ros.tools.grasp_robot put the duck to the left of the blue cube

All it knows comes over ROS: words and targets through `GroundingClient`, the rest from the topics
of the arm and the camera. It asks back instead of guessing, and looks again at what it has put.
"""

from __future__ import annotations

import sys

import numpy as np
import rclpy

from flmm_ros.ros.client import FoundTarget, GroundingClient, GroundingError
from flmm_ros.tools.grasp_arm import MAX_WIDTH_M, Arm
from flmm_ros.tools.grasp_interface import AnyArm, AnyClient, Pose, shift, turn_in_place

ABOVE_M, LIFT_M, BESIDE_M, ROOM_M, NEAR_M, LOOKS = 0.10, 0.13, 0.10, 0.02, 0.015, 4
SIDES = {"left": (-1, 0), "right": (1, 0), "behind": (0, -1), "front": (0, 1)}  # right, near


def fulfil(client: AnyClient, arm: AnyArm, command: str) -> str:
    """Does what is told, and returns what the robot says about it."""
    side = next((SIDES[word] for word in command.split() if word in SIDES), None)
    gap, T_aside = gap_m(arm, side) if side else np.zeros(3), arm.T_world_tip
    for look in range(LOOKS):
        arm.wait_for_picture()
        answer = client.ground(command, timeout_s=60.0, wait_for_node_s=60.0)
        if not answer.present or len(answer.present) < len(answer.objects) or answer.is_ambiguous:
            return answer.error_text or answer.text  # it is not here, or: which one?
        targets = [found.target for found in answer.present[: 2 if side else 1]]
        target, beside = targets[0], targets[-1] if len(targets) > 1 else None
        if target is None or (beside is None and len(targets) > 1):
            return f"I cannot tell where it is: {answer.target_text}"
        way = np.zeros(3)
        if beside is not None:
            way = gap + arm.T_world_camera[:3, :3] @ (beside.position_m - target.position_m)
            if np.linalg.norm(way[:2]) < NEAR_M:
                return f"Done: {command}"  # it lies there
        T = pick(arm, target, skip=look)
        if T is not None and beside is None:
            return f"Done: {command}"  # it hangs in the gripper
        if T is not None:
            put(arm, T, arm.T_world_camera @ target.T_frame_box, way, gap)
        arm.move(T_aside)  # out of the picture
    return f"I could not do it: {command}"


def pick(arm: AnyArm, target: FoundTarget, skip: int) -> Pose | None:
    """Grips by the best grasp within reach: where the tips hold the thing, None: they do not."""
    for grasp in target.grasps[skip:] or target.grasps:
        T = arm.T_world_camera @ grasp.T_frame_grasp
        room_m = ROOM_M + 2 * max(0.0, grasp.clearance_m - 0.005)  # its far side was not seen
        arm.open_to(min(MAX_WIDTH_M, grasp.width_m + room_m))
        if arm.move(T @ shift(0, 0, -ABOVE_M)):
            is_there = arm.move(T)  # or else something is in the way, and may have been pushed
            if is_there:
                arm.open_to(0.0)
            T = arm.T_world_tip
            arm.move(shift(0, 0, LIFT_M) @ T)
            return T if is_there and arm.holds_something else None
    return None


def put(arm: AnyArm, T: Pose, box: Pose, way: Pose, gap: Pose) -> None:
    """Carries what was gripped at T, and its box, along a way over the table, and lets it go."""
    across = np.arctan2(gap[0], -gap[1]) - np.arctan2(T[1, 1], T[0, 1])
    narrow = (across + np.pi / 2) % np.pi - np.pi / 2  # so turned the hand is thin along the gap
    for turn in (narrow, 0.0, narrow + np.pi / 2):
        there = shift(way[0], way[1], 0.003) @ turn_in_place(box, turn) @ T
        arm.move(shift(0, 0, LIFT_M) @ there)
        if arm.move(there):
            break
        arm.move(shift(0, 0, LIFT_M) @ arm.T_world_tip)  # the hand met something
    else:
        arm.move(there)
    arm.open_to(arm.width_m + ROOM_M)
    arm.move(shift(0, 0, LIFT_M) @ arm.T_world_tip)


def gap_m(arm: AnyArm, side: tuple[int, int]) -> Pose:
    """From the middle of a thing to the place beside it [3]; left and near as the camera sees."""
    R = arm.T_world_camera[:3, :3]
    along = np.append(side[0] * R[:2, 0] + side[1] * R[:2, 1], 0.0)
    return np.asarray(BESIDE_M * along / np.linalg.norm(along))


if __name__ == "__main__":
    rclpy.init()
    node = rclpy.create_node("robot")
    with GroundingClient(node) as client:
        try:
            print(fulfil(client, Arm(node), " ".join(sys.argv[1:])), flush=True)
        except (GroundingError, TimeoutError) as error:
            sys.exit(f"error: {error}")
    node.destroy_node()
    rclpy.shutdown()
