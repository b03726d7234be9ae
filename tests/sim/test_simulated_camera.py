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

"""The camera as a process of its own, seen over DDS."""

import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from PIL import Image as PillowImage
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from flmm_ros.ros.client.repeated_call import RepeatedCall
from flmm_ros.ros.messages.conversions import rgb_from_msg
from flmm_sim.nodes.camera_node import FRAME_ID, depth_to_msg
from flmm_sim.processes import ChildProcess
from flmm_sim.tabletop.tabletop import Tabletop

NAMESPACE = "/simulated_camera_test"
FIRST_SEED, SECOND_SEED = 2_000_028, 2_000_031
TOPICS = {
    "image": Image,
    "depth": Image,
    "camera_info": CameraInfo,
    "image/compressed": CompressedImage,
}


class Viewer:
    """Subscribes to everything the camera publishes and keeps it by topic and stamp."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        self._context.init()
        self.node = rclpy.create_node("viewer", namespace=NAMESPACE, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.messages: dict[str, dict[int, Any]] = {name: {} for name in TOPICS}
        for name, kind in TOPICS.items():
            self.node.create_subscription(kind, name, self._keeper(name), QoSProfile(depth=10))
        self._parameters = self.node.create_client(SetParameters, "camera/set_parameters")

    def _keeper(self, name: str) -> Callable[[Any], None]:
        def keep(msg: Any) -> None:
            self.messages[name][Time.from_msg(msg.header.stamp).nanoseconds] = msg

        return keep

    def wait(self, is_there: Callable[[], bool], what: str, timeout_s: float = 40.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not is_there():
            assert time.monotonic() < end_s, f"no {what} within {timeout_s} s"
            self._executor.spin_once(timeout_sec=0.1)

    def complete(self) -> list[int]:
        """Stamps for which all four messages are there, in order."""
        return sorted(set.intersection(*(set(kept) for kept in self.messages.values())))

    def set(self, name: str, value: int | float) -> tuple[bool, str]:
        """Sets a parameter of the camera; whether that was accepted, and why not."""
        ros_value = (
            ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=value)
            if isinstance(value, int)
            else ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
        )
        self.wait(self._parameters.service_is_ready, "parameter service")
        request = SetParameters.Request(parameters=[Parameter(name=name, value=ros_value)])
        call = RepeatedCall(self._parameters, request)
        self.wait(lambda: call.answer() is not None, "answer of the parameter service")
        result = call.answer().results[0]
        return result.successful, result.reason

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildProcess]:
    arguments = ["--ros-args", "-r", f"__ns:={NAMESPACE}"]
    for setting in (f"seed:={FIRST_SEED}", "rate_hz:=10.0", "compressed:=true"):
        arguments += ["-p", setting]
    log = tmp_path_factory.mktemp("camera") / "camera.log"
    with ChildProcess("camera", "flmm_sim.nodes.camera_node", arguments, log) as child:
        yield child
        assert child.stop() == 0, ChildProcess.tail_of(log)


@pytest.fixture(scope="module")
def viewer(camera: ChildProcess) -> Iterator[Viewer]:
    it = Viewer()
    yield it
    it.close()


def test_one_moment_has_one_header(viewer: Viewer) -> None:
    viewer.wait(lambda: len(viewer.complete()) >= 3, "three complete sets of messages")
    for stamp in viewer.complete():
        headers = [viewer.messages[name][stamp].header for name in TOPICS]
        assert all(header == headers[0] for header in headers)
        assert headers[0].frame_id == FRAME_ID
    age_s = viewer.node.get_clock().now().nanoseconds * 1e-9 - viewer.complete()[-1] * 1e-9
    assert 0 <= age_s < 5


def test_it_publishes_exactly_what_was_rendered(viewer: Viewer, world: Tabletop) -> None:
    viewer.wait(lambda: bool(viewer.complete()), "complete set of messages")
    scene = world.render(FIRST_SEED)
    image, depth, info, compressed = (
        viewer.messages[name][viewer.complete()[0]] for name in TOPICS
    )
    assert (image.encoding, image.width, image.height, image.step) == ("rgb8", 320, 240, 960)
    np.testing.assert_array_equal(rgb_from_msg(image), scene.rgb)
    assert (depth.encoding, depth.step, depth.is_bigendian) == ("32FC1", 1280, 0)
    values = np.frombuffer(depth.data, "<f4").reshape(depth.height, depth.width)
    np.testing.assert_array_equal(values, scene.depth_m)
    assert (info.width, info.height, info.distortion_model) == (320, 240, "plumb_bob")
    np.testing.assert_array_equal(info.k.reshape(3, 3), scene.K)
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], scene.K)
    assert list(info.d) == [0.0] * 5
    assert "jpeg" in compressed.format
    with PillowImage.open(io.BytesIO(bytes(compressed.data))) as picture:
        assert picture.format == "JPEG"
    difference = rgb_from_msg(compressed).astype(int) - scene.rgb
    assert np.abs(difference).mean() < 4


def test_a_new_seed_is_a_new_picture(viewer: Viewer, world: Tabletop) -> None:
    viewer.wait(lambda: bool(viewer.messages["image"]), "picture")
    before = max(viewer.messages["image"])
    assert viewer.set("seed", SECOND_SEED) == (True, "")
    scene = world.render(SECOND_SEED)

    def new() -> list[int]:
        images = viewer.messages["image"]
        return [
            stamp
            for stamp in viewer.complete()
            if stamp > before and np.array_equal(rgb_from_msg(images[stamp]), scene.rgb)
        ]

    viewer.wait(lambda: len(new()) >= 2, "pictures of the new scene")
    depth = viewer.messages["depth"][new()[0]]
    np.testing.assert_array_equal(np.frombuffer(depth.data, "<f4"), scene.depth_m.ravel())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", -1, "seed"),
        ("seed", 5_000_000, "seed"),
        ("rate_hz", 0.0, "rate_hz"),
        ("rate_hz", float("nan"), "rate_hz"),
        ("width", 640, "width"),
        ("seed", 1.5, "type"),
    ],
)
def test_a_bad_value_is_refused_and_the_camera_goes_on(
    viewer: Viewer, name: str, value: int | float, words: str
) -> None:
    is_set, reason = viewer.set(name, value)
    assert not is_set and words in reason
    count = len(viewer.messages["image"])
    viewer.wait(lambda: len(viewer.messages["image"]) > count + 1, "picture after a refusal")


def test_the_rate_is_live(viewer: Viewer) -> None:
    assert viewer.set("rate_hz", 2.0) == (True, "")
    count = len(viewer.messages["image"])
    viewer.wait(lambda: len(viewer.messages["image"]) >= count + 4, "pictures at the slow rate")
    first, second, third = sorted(viewer.messages["image"])[-3:]
    assert min(second - first, third - second) > 0.4e9  # half a second each, however busy we are
    assert viewer.set("rate_hz", 10.0) == (True, "")


def test_depth_message_of_a_view() -> None:
    """Rows that do not lie together in memory come out in order."""
    depth_m = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    msg = depth_to_msg(depth_m, Image().header)
    assert (msg.height, msg.width, msg.step) == (4, 3, 12)
    np.testing.assert_array_equal(np.frombuffer(msg.data, "<f4").reshape(4, 3), depth_m)
