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

"""A robot's arm and camera as a program has them: goals out, finger tips, widths and pictures in.

Talks to the topics of `flmm_sim.nodes.arm_node` and to nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Float32, Header

from flmm_ros.ros.messages.poses import matrix_of, pose_to_msg

WORLD = "world"
MAX_WIDTH_M = 0.08
HOLDING_M = 0.004  # fingers that stay this far apart have something between them
ARRIVED_M = 0.01  # from the goal; farther off, the arm came to rest elsewhere
REPORT_S = 0.05  # of the world, between two reports of the arm
PICTURE_S = 1.0  # the same, between two pictures: the software renderer is slow
GRIP_REPORTS = 30  # a second and a half for the fingers
_SETTLED = 20  # reports of the tips, a second of them, that differ by less than this:
_STILL_M = 2e-4
_TIMEOUT_S = 60.0


def is_at_rest(tips_m: Sequence[NDArray[np.float64]]) -> bool:
    """Whether an arm that was told to move stands still, from what it reported since, [3] each."""
    if len(tips_m) <= _SETTLED + 5:  # it may not have begun to move
        return False
    return bool(np.ptp(tips_m[-_SETTLED:], axis=0).max() < _STILL_M)


class ArmClient:
    """Moves the finger tips and the fingers, and knows where the camera is.

    Args:
        node: spun by the calls of this class; nobody else may spin it.

    Raises:
        TimeoutError: here and in every call, where the arm or the camera falls silent.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._tips_m: list[NDArray[np.float64]] = []
        self._T_world_tip: NDArray[np.float64] | None = None
        self._pictures = 0
        self._T_world_camera: NDArray[np.float64] | None = None
        self.width_m = 0.0
        self._goal = node.create_publisher(PoseStamped, "arm/goal", 10)
        self._goal_width = node.create_publisher(Float32, "arm/goal_width", 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(PoseStamped, "camera_pose", self._on_camera_pose, latched)
        node.create_subscription(PoseStamped, "arm/tip", self._on_tip, 100)
        node.create_subscription(Float32, "arm/width", self._on_width, 100)
        node.create_subscription(CameraInfo, "camera_info", self._on_camera_info, 10)
        self._wait(lambda: self._T_world_camera is not None, "camera_pose")
        self._wait(lambda: self._T_world_tip is not None, "arm/tip")

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """The camera's pose [4, 4], optical convention (z forward, x right, y down)."""
        if self._T_world_camera is None:
            raise RuntimeError("the camera has not reported its pose")
        return self._T_world_camera

    @property
    def T_world_tip(self) -> NDArray[np.float64]:
        """Where the finger tips are [4, 4], by the last report."""
        if self._T_world_tip is None:
            raise RuntimeError("the arm has not reported its pose")
        return self._T_world_tip

    def wait_for_picture(self) -> None:
        """Returns when the camera has taken a picture that begins after this call."""
        seen = self._pictures
        self._wait(lambda: self._pictures > seen + 1, "camera_info")

    def move(self, T_world_tip: NDArray[np.float64]) -> bool:
        """Brings the finger tips to a pose [4, 4]; False: the arm came to rest somewhere else."""
        self._tips_m = []
        pose = pose_to_msg(T_world_tip)
        self._goal.publish(PoseStamped(header=Header(frame_id=WORLD), pose=pose))
        self._wait(lambda: is_at_rest(self._tips_m), "arm/tip")
        return bool(np.linalg.norm(self._tips_m[-1] - T_world_tip[:3, 3]) < ARRIVED_M)

    def open_to(self, width_m: float) -> None:
        """Sends the fingers apart by so much; less than what is between them means: grip."""
        self._tips_m = []
        self._goal_width.publish(Float32(data=float(np.clip(width_m, 0, MAX_WIDTH_M))))
        self._wait(lambda: len(self._tips_m) > GRIP_REPORTS, "arm/tip")

    @property
    def holds_something(self) -> bool:
        """Closed fingers that do not meet."""
        return self.width_m > HOLDING_M

    def _wait(self, is_done: Callable[[], bool], topic: str) -> None:
        end_s = time.monotonic() + _TIMEOUT_S
        while not is_done():
            rclpy.spin_once(self._node, timeout_sec=0.1)
            if time.monotonic() > end_s:
                name = self._node.resolve_topic_name(topic)
                raise TimeoutError(
                    f"expected the robot's topics, and rest, within {_TIMEOUT_S:g} s; waited "
                    f"for {name}: does `ros2 topic hz {name}` show messages?"
                )

    def _on_camera_pose(self, msg: PoseStamped) -> None:
        self._T_world_camera = matrix_of(msg.pose)

    def _on_tip(self, msg: PoseStamped) -> None:
        self._T_world_tip = matrix_of(msg.pose)
        self._tips_m.append(self._T_world_tip[:3, 3])

    def _on_width(self, msg: Float32) -> None:
        self.width_m = msg.data

    def _on_camera_info(self, _: CameraInfo) -> None:
        self._pictures += 1
