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

"""What `flmm record` writes over real DDS is what was sent, and `flmm replay` reads it."""

import array
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from flmm_ros.msg import GroundedAnswer, GroundedObject
from flmm_ros.replay import command as replay
from flmm_ros.replay.judging.judged_answer import read_rows
from flmm_ros.replay.recording.bag import Bag
from flmm_ros.replay.recording.bag_writer import message_definition
from flmm_ros.replay.recording.recorded_frames import frames
from flmm_ros.replay.scenario import load_scenario

SEED = 2_000_201
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def camera(world) -> Iterator[np.ndarray]:
    """A camera with depth, a node that answers, and somebody who speaks. Yields the picture."""
    rgb = world.render(SEED).rgb
    height, width = rgb.shape[:2]
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("camera", context=context)
    image_pub = node.create_publisher(Image, "/cam/image", qos_profile_sensor_data)
    depth_pub = node.create_publisher(Image, "/cam/depth", 10)
    info_pub = node.create_publisher(CameraInfo, "/cam/camera_info", 10)
    said_pub = node.create_publisher(String, "/command", 10)
    answer_pub = node.create_publisher(GroundedAnswer, "/grounding_node/grounding", 10)

    def publish() -> None:
        image = Image(height=height, width=width, step=3 * width, encoding="rgb8")
        image.header.stamp = node.get_clock().now().to_msg()
        image.data = array.array("B", rgb.tobytes())
        depth = Image(header=image.header, height=height, width=width, step=2 * width)
        depth.encoding, depth.data = "16UC1", array.array("B", bytes(2 * width * height))
        info = CameraInfo(header=image.header, height=height, width=width)
        info.k[0] = 300.0
        found = GroundedObject(phrase="the red mug", score=0.5)
        answer_pub.publish(GroundedAnswer(header=image.header, answer="here.", objects=[found]))
        for pub, msg in ((image_pub, image), (depth_pub, depth), (info_pub, info)):
            pub.publish(msg)
        said_pub.publish(String(data="what do you see?"))

    node.create_timer(0.2, publish)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    is_over = threading.Event()

    def spin() -> None:
        while not is_over.is_set():
            executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    yield rgb
    is_over.set()
    thread.join()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def recorded(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flmm_ros.cli.main", "record", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_recording_holds_what_was_sent_and_replays(camera, tmp_path):
    out = tmp_path / "run"
    topics = ("--image", "/cam/image", "--depth", "/cam/depth")
    topics += ("--camera-info", "/cam/camera_info")
    ended = recorded(str(out), *topics, "--seconds", "4", "--wait", "30")
    assert ended.returncode == 0, ended.stderr
    with Bag(out) as bag:
        assert bag.damage == "" and bag.notes == []
        kinds = {name: topic.type for name, topic in bag.topics.items()}
        assert kinds == {
            "/cam/camera_info": "sensor_msgs/msg/CameraInfo",
            "/cam/depth": "sensor_msgs/msg/Image",
            "/cam/image": "sensor_msgs/msg/Image",
            "/command": "std_msgs/msg/String",
            "/grounding_node/grounding": "flmm_ros/msg/GroundedAnswer",
        }
        assert all(topic.count >= 3 for topic in bag.topics.values())
        scenario = load_scenario(out / "scenario.yaml")
        found = list(frames(bag, scenario))
        np.testing.assert_array_equal(found[0].rgb(), camera)
        assert sum(frame.camera_info is not None for frame in found) >= len(found) - 1
        assert found[1].camera_info.k[0] == 300.0
    assert scenario.topics.command == "/command"
    results = tmp_path / "results"
    assert replay.main([str(out), "--out", str(results), "--set", "threads=1"]) == 0
    rows = list(read_rows(results / "result.jsonl"))
    assert {row.text for row in rows} == {"what do you see?"}
    assert all(row.error == "OK" and row.objects for row in rows)


def test_what_is_not_there_is_named_with_what_is(camera, tmp_path):
    begin_s = time.monotonic()
    ended = recorded(str(tmp_path / "run"), "--image", "/cam/colour", "--wait", "10")
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert "expected the topics /cam/colour (--image)" in ended.stderr
    assert "/cam/image (sensor_msgs/msg/Image)" in ended.stderr
    assert not (tmp_path / "run").exists() and time.monotonic() - begin_s < 60
    ended = recorded(str(tmp_path / "run"), "--image", "/cam/camera_info", "--wait", "30")
    assert ended.returncode == 2 and "expected a topic of sensor_msgs/msg/Image" in ended.stderr
    ended = recorded(str(tmp_path), "--image", "/cam/image", "--wait", "30")
    assert ended.returncode == 2 and "expected a new folder" in ended.stderr


def test_a_type_as_its_msg_file_has_it():
    text = message_definition("sensor_msgs/msg/CameraInfo")
    assert "float64[9] k\n" in text and "float64[] d\n" in text
    assert "MSG: sensor_msgs/RegionOfInterest\nuint32 x_offset\n" in text
    assert "bool do_rectify\n" in text and "sensor_msgs/RegionOfInterest roi\n" in text


def test_ctrl_c_finishes_the_recording(camera, tmp_path):
    import signal

    out = tmp_path / "run"
    arguments = [sys.executable, "-m", "flmm_ros.cli.main", "record", str(out)]
    process = subprocess.Popen(
        [*arguments, "--image", "/cam/image", "--wait", "30"],
        # Where the tests run in the background, a shell has SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end_s = time.monotonic() + 60
    while not any(p.stat().st_size > 500_000 for p in Path(out).glob("*.mcap")):
        assert time.monotonic() < end_s
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    with Bag(out) as bag:
        assert bag.damage == "" and bag.topics["/cam/image"].count >= 1
