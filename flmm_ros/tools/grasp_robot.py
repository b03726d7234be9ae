"""A robot program that does what it is told: look, ask the grounding node, grip, lift or put.

    python -m flmm_ros.tools.grasp_robot put the duck to the left of the blue cube

All it knows comes over ROS: words and targets through `GroundingClient`, the rest from the topics
of the arm and the camera. It asks back instead of guessing.
"""

from __future__ import annotations

import sys

import numpy as np
import rclpy
from numpy.typing import NDArray

from flmm_ros.ros.client import FoundTarget, GroundingClient, GroundingError
from flmm_ros.tools.grasp_arm import MAX_WIDTH_M, Arm

ABOVE_M, LIFT_M, BESIDE_M, ROOM_M = 0.10, 0.13, 0.10, 0.02
SIDES = {"left": (-1, 0), "right": (1, 0), "behind": (0, -1), "front": (0, 1)}  # right, near
TURNED = np.diag([-1.0, -1.0, 1.0, 1.0])  # a gripper turned half around is the same gripper
Pose = NDArray[np.float64]


def fulfil(client: GroundingClient, arm: Arm, command: str) -> str:
    """Does what is told, and returns what the robot says about it."""
    arm.wait_for_picture()
    answer = client.ground(command, timeout_s=60.0, wait_for_node_s=60.0)
    if not answer.is_ok:
        return answer.error_text
    if not answer.present or len(answer.present) < len(answer.objects) or answer.is_ambiguous:
        return answer.text  # it is not here, or: which one?
    targets = [found.target for found in answer.present]
    target, beside = targets[0], targets[1] if len(targets) > 1 else None
    if target is None:
        return f"I cannot tell where {answer.present[0].phrase} is: {answer.target_text}"
    T = pick(arm, target)
    if T is None:
        return f"I could not grip {answer.present[0].phrase}."
    side = next((SIDES[word] for word in command.split() if word in SIDES), None)
    if side is not None and beside is not None:
        put(arm, T, way_m(arm, target, beside, side))
    return f"Done: {command}"


def pick(arm: Arm, target: FoundTarget) -> Pose | None:
    """Tries the grasps, best first: where the finger tips hold the thing, or None."""
    for grasp in target.grasps[:3]:
        T_grasp = arm.T_world_camera @ grasp.T_frame_grasp
        for T in (T_grasp, T_grasp @ TURNED):
            arm.open_to(min(MAX_WIDTH_M, grasp.width_m + ROOM_M))
            if arm.move(T @ shift(0, 0, -ABOVE_M)) and arm.move(T):
                arm.open_to(0.0)
                arm.move(shift(0, 0, LIFT_M) @ T)
                if arm.holds_something:
                    return T
    return None


def put(arm: Arm, T: Pose, way: Pose) -> None:
    """Carries what was gripped at T along a way over the table, lets it go there and steps back."""
    there = shift(way[0], way[1], 0.003) @ T
    arm.move(shift(0, 0, LIFT_M) @ there)
    arm.move(there)
    arm.open_to(MAX_WIDTH_M)
    arm.move(shift(0, 0, LIFT_M) @ there)


def way_m(arm: Arm, target: FoundTarget, beside: FoundTarget, side: tuple[int, int]) -> Pose:
    """From where a thing is to its place beside another [3]; left and near as the camera sees."""
    R = arm.T_world_camera[:3, :3]
    along = np.append(side[0] * R[:2, 0] + side[1] * R[:2, 1], 0.0)
    way = R @ (beside.position_m - target.position_m)
    return np.asarray(way + BESIDE_M * along / np.linalg.norm(along))


def shift(x: float, y: float, z: float) -> Pose:
    """A pose without a turn."""
    T = np.eye(4)
    T[:3, 3] = x, y, z
    return T


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
