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

"""A simulated RGB-D camera over the tabletop: a ROS 2 node that looks like a camera driver.

    python -m flmm_sim.nodes.camera_node --ros-args -p seed:=1000123 -p rate_hz:=10.0

Publishes `image` (rgb8), `depth` (32FC1, metres along the optical axis), `camera_info`, all with
one stamp, and with `compressed` also `image/compressed`. The scene is a function of the parameter
`seed`, which may be changed while it runs: the next picture shows the new scene. A scene is
rendered once; after that the same pixels go out with new stamps.
"""

from __future__ import annotations

import array
import io
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from flmm_ros.ros.messages.conversions import image_to_msg
from flmm_sim.nodes.node_process import SimulatedNode, run_until_ended
from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX, Tabletop, TabletopScene

FRAME_ID = "camera_color_optical_frame"
MAX_SEED = 4_999_999
MAX_SIDE_PX = 2048
MAX_RATE_HZ = 60.0
JPEG_QUALITY = 95


class CameraNode(SimulatedNode):
    """Publishes one scene over and over until its seed changes."""

    def __init__(self) -> None:
        super().__init__("camera")
        self._declare()
        self._table = Tabletop(self._int("width"), self._int("height"))
        self._scene: TabletopScene | None = None
        self._jpeg: bytes | None = None
        # Reliable and not best effort: it matches both kinds of subscriber, as a driver should.
        qos = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        self._image = self.create_publisher(Image, "image", qos)
        self._depth = self.create_publisher(Image, "depth", qos)
        self._info = self.create_publisher(CameraInfo, "camera_info", qos)
        self._compressed = (
            self.create_publisher(CompressedImage, "image/compressed", qos)
            if self.get_parameter("compressed").value
            else None
        )
        self.add_on_set_parameters_callback(_check_rate)
        self._timer = self.create_timer(1.0 / self._rate_hz(), self._publish)

    def _declare(self) -> None:
        """Every parameter, once: default, meaning, bounds."""
        self.declare_parameter(
            "seed",
            0,
            ParameterDescriptor(
                description="Which scene; it can be changed while the camera runs.",
                integer_range=[IntegerRange(from_value=0, to_value=MAX_SEED, step=1)],
            ),
        )
        self.declare_parameter(
            "rate_hz",
            10.0,
            ParameterDescriptor(
                description="Pictures per second; it can be changed while the camera runs.",
                floating_point_range=[FloatingPointRange(from_value=0.1, to_value=MAX_RATE_HZ)],
            ),
        )
        for name, default in (("width", WIDTH_PX), ("height", HEIGHT_PX)):
            self.declare_parameter(
                name,
                default,
                ParameterDescriptor(
                    description=f"{name.capitalize()} of the pictures in pixels.",
                    read_only=True,
                    integer_range=[IntegerRange(from_value=32, to_value=MAX_SIDE_PX, step=1)],
                ),
            )
        self.declare_parameter(
            "compressed",
            False,
            ParameterDescriptor(
                description="Offer image/compressed (JPEG) too; encoded only for listeners.",
                read_only=True,
            ),
        )

    def _int(self, name: str) -> int:
        return int(self.get_parameter(name).value)

    def _rate_hz(self) -> float:
        return float(self.get_parameter("rate_hz").value)

    def _publish(self) -> None:
        """Image, depth and camera_info with one header; new parameters take effect here."""
        self._timer.timer_period_ns = int(1e9 / self._rate_hz())
        seed = self._int("seed")
        if self._scene is None or self._scene.seed != seed:
            self._scene, self._jpeg = self._table.render(seed), None
            names = ", ".join(o.name for o in self._scene.objects)
            self.get_logger().info(f"scene {seed}: {names}")
        scene = self._scene
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME_ID)
        self._depth.publish(depth_to_msg(scene.depth_m, header))
        self._image.publish(image_to_msg(scene.rgb, header))
        # Last: in a burst, large messages push small ones out of the shared memory of DDS.
        self._info.publish(info_to_msg(scene.K, scene.labels.shape, header))
        if self._compressed is not None and self._compressed.get_subscription_count():
            if self._jpeg is None:
                self._jpeg = jpeg(scene.rgb)
            msg = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
            msg.data = array.array("B", self._jpeg)
            self._compressed.publish(msg)

    def close(self) -> None:
        """Frees the simulated world."""
        self._table.close()


def _check_rate(parameters: list[Parameter]) -> SetParametersResult:
    """Bounds are rclpy's job; it does not see NaN, which would stop the timer."""
    if any(p.name == "rate_hz" and not np.isfinite(p.value) for p in parameters):
        return SetParametersResult(
            successful=False, reason=f"rate_hz: expected 0.1..{MAX_RATE_HZ}, got nan"
        )
    return SetParametersResult(successful=True)


def depth_to_msg(depth_m: NDArray[np.float32], header: Header) -> Image:
    """Depth [H, W] in metres as a 32FC1 image (REP 118)."""
    height, width = depth_m.shape
    little_endian = depth_m.astype("<f4", copy=False)
    msg = Image(header=header, height=height, width=width, encoding="32FC1", step=width * 4)
    msg.data = array.array("B", little_endian.tobytes())
    return msg


def info_to_msg(K: NDArray[np.float64], size_hw: tuple[int, ...], header: Header) -> CameraInfo:
    """Intrinsics of a camera without distortion."""
    return CameraInfo(
        header=header,
        height=size_hw[0],
        width=size_hw[1],
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=K.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=np.hstack([K, np.zeros((3, 1))]).ravel().tolist(),
    )


def jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """An RGB image [H, W, 3] as JPEG."""
    buffer = io.BytesIO()
    PillowImage.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def main(args: list[str] | None = None) -> int:
    """Runs the camera until it is interrupted or terminated; both are a clean end."""
    return run_until_ended(CameraNode, args)


if __name__ == "__main__":
    sys.exit(main())
