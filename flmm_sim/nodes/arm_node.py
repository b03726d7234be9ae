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

"""The world one can grip in as ROS topics: an RGB-D camera, and an arm that follows goals.

    python -m flmm_sim.nodes.arm_node --ros-args -p seed:=2000000

Out: image, depth, camera_info; camera_pose (latched); arm/tip (pose of the finger tips), arm/width.
In:  arm/goal (PoseStamped of the finger tips, frame world), arm/goal_width (metres between them).
Ground truth, never for a robot program: truth (a marker for each thing, where
it really is), onlooker (pictures, made while somebody listens).
"""

from __future__ import annotations

import sys

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rcl_interfaces.msg import IntegerRange, ParameterDescriptor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import ColorRGBA, Float32, Header
from visualization_msgs.msg import Marker, MarkerArray

from flmm_ros.ros.messages.conversions import image_to_msg
from flmm_ros.ros.messages.poses import matrix_of, pose_to_msg, vector_to_msg
from flmm_sim.arm.arm_client import PICTURE_S, REPORT_S, WORLD
from flmm_sim.arm.kinematics import UnreachableError
from flmm_sim.arm.world import GraspWorld, Thing
from flmm_sim.nodes.camera_node import FRAME_ID, MAX_SEED, depth_to_msg, info_to_msg
from flmm_sim.nodes.node_process import SimulatedNode, run_until_ended

PICTURE_PERIOD_TICKS = round(PICTURE_S / REPORT_S)
ONLOOKER_PERIOD_TICKS, ONLOOKER_HW = 5, (240, 320)


class ArmNode(SimulatedNode):
    """Steps one world and reports it; everything on one thread."""

    def __init__(self) -> None:
        super().__init__("grasp_world")
        self.declare_parameter(
            "seed",
            2_000_000,
            ParameterDescriptor(
                description="Which things lie there, where, and how they are looked at. It can be "
                "changed while the world runs.",
                integer_range=[IntegerRange(from_value=0, to_value=MAX_SEED, step=1)],
            ),
        )
        self.world = GraspWorld(self._seed())
        self._ticks = 0
        reliable = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        self._image = self.create_publisher(Image, "image", reliable)
        self._depth = self.create_publisher(Image, "depth", reliable)
        self._info = self.create_publisher(CameraInfo, "camera_info", reliable)
        self._onlooker = self.create_publisher(Image, "onlooker", reliable)
        self._tip = self.create_publisher(PoseStamped, "arm/tip", 10)
        self._width = self.create_publisher(Float32, "arm/width", 10)
        self._truth = self.create_publisher(MarkerArray, "truth", 1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._camera_pose = self.create_publisher(PoseStamped, "camera_pose", latched)
        self._announce()
        self.create_subscription(PoseStamped, "arm/goal", self._on_goal, 10)
        self.create_subscription(Float32, "arm/goal_width", self._on_width, 10)
        self.create_timer(REPORT_S, self._tick)

    def _seed(self) -> int:
        return int(self.get_parameter("seed").value)

    def _announce(self) -> None:
        """Where the camera of this world is."""
        self._camera_pose.publish(self._pose(self.world.T_world_camera))
        names = ", ".join(thing.name for thing in self.world.things)
        self.get_logger().info(f"world {self.world.seed}: {names}")

    def _header(self, frame_id: str) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=frame_id)

    def _pose(self, T_world: NDArray[np.float64]) -> PoseStamped:
        return PoseStamped(header=self._header(WORLD), pose=pose_to_msg(T_world))

    def _on_goal(self, msg: PoseStamped) -> None:
        frame_id, q = msg.header.frame_id, msg.pose.orientation
        if frame_id != WORLD:
            self.get_logger().error(f"arm/goal: expected the frame {WORLD}, got '{frame_id}'")
            return
        if not np.isclose(np.linalg.norm([q.x, q.y, q.z, q.w]), 1.0, atol=1e-3):
            self.get_logger().error("arm/goal: expected a quaternion of length 1")
            return
        try:
            self.world.arm.go_to(matrix_of(msg.pose))
        except UnreachableError as error:  # the arm stays, and whoever sent it sees that
            self.get_logger().warning(str(error))

    def _on_width(self, msg: Float32) -> None:
        self.world.arm.open_to(msg.data)

    def _tick(self) -> None:
        if self.world.seed != self._seed():
            self.world.close()
            self.world = GraspWorld(self._seed())
            self._announce()
        self.world.step(REPORT_S)
        if not self.context.ok():  # asked to end meanwhile
            return
        self._tip.publish(self._pose(self.world.arm.tip))
        self._width.publish(Float32(data=self.world.arm.width_m))
        if self._ticks % PICTURE_PERIOD_TICKS == 0:
            self._publish_picture()
            self._truth.publish(MarkerArray(markers=self._markers()))
        if self._ticks % ONLOOKER_PERIOD_TICKS == 0 and self._onlooker.get_subscription_count():
            picture = self.world.onlooker_picture(ONLOOKER_HW)
            self._onlooker.publish(image_to_msg(picture, self._header("onlooker")))
        self._ticks += 1

    def _publish_picture(self) -> None:
        header = self._header(FRAME_ID)
        picture = self.world.picture()
        self._depth.publish(depth_to_msg(picture.depth_m, header))
        self._image.publish(image_to_msg(picture.rgb, header))
        # Last: in a burst, large messages push small ones out of the shared memory of DDS.
        self._info.publish(info_to_msg(picture.K, picture.depth_m.shape, header))

    def _markers(self) -> list[Marker]:
        """Every thing's name (the marker's namespace), the seed (its id), and its middle."""
        return [self._marker(thing) for thing in self.world.things]

    def _marker(self, thing: Thing) -> Marker:
        T = np.eye(4)
        T[:3, 3] = self.world.middle_m(thing)
        red, green, blue, alpha = map(float, thing.placement.rgba)
        return Marker(
            header=self._header(WORLD),
            ns=thing.name,
            id=self.world.seed,
            type=Marker.SPHERE,
            pose=pose_to_msg(T),
            scale=vector_to_msg(np.full(3, 0.02)),
            color=ColorRGBA(r=red, g=green, b=blue, a=alpha),
        )

    def close(self) -> None:
        """Frees the simulated world."""
        self.world.close()


def main(args: list[str] | None = None) -> int:
    """Runs the world until it is interrupted or terminated; both are a clean end."""
    return run_until_ended(ArmNode, args)


if __name__ == "__main__":
    sys.exit(main())
