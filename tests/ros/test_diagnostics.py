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

"""Every problem by its own sentence, and nothing said where nothing is wrong."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from flmm_ros.engine.runtime.scene_cache import SceneMemory
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.images.camera import CameraFacts
from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.node import diagnostics
from flmm_ros.ros.node.diagnostics import Snapshot, Statistics
from flmm_ros.ros.node.topic_publishers import PublisherFacts, _problem

DRIVER = PublisherFacts("/driver", "sensor_msgs/msg/Image", "best_effort", "volatile", 5)
OTHER = PublisherFacts("/jpeg", "sensor_msgs/msg/CompressedImage", "reliable", "volatile", 1, "why")
FRESH = CameraFacts("/image", (DRIVER,), received=9, rate_hz=10.0, age_s=0.1)


def status(**values):
    snapshot = Snapshot(**{"state": "active", "cameras": (FRESH,), **values})
    return diagnostics.to_msg("/node", snapshot, Header()).status[0]


def camera(**values):
    return {"cameras": (CameraFacts(**{"topic": "/cam", "publishers": (DRIVER,), **values}),)}


def test_nothing_is_wrong():
    found = status(free_mib=9000.0, busy_s=3.0, failures=2)
    assert (found.level, found.message) == (DiagnosticStatus.OK, "active")
    assert found.name == "/node: grounding"


WARNINGS = {
    "nobody publishes /cam; remap image:=<camera topic>": camera(publishers=()),
    "no image on /cam from /jpeg (sensor_msgs/msg/CompressedImage, reliable, volatile): "
    "why": camera(publishers=(OTHER,)),
    "no image on /cam yet from /driver (sensor_msgs/msg/Image, best effort, volatile), which would "
    "match": camera(),
    "the newest image on /cam is 7.2 s old; /driver (sensor_msgs/msg/Image, best effort, volatile) "
    "publishes it but is silent": camera(age_s=7.21),
    "the newest image on /cam is stamped 30.0 s in the future; compare the clocks of camera and "
    "node, and use_sim_time": camera(age_s=-30.0),
    "a command has been at work for 42 s": {"busy_s": 42.0},
    "4 commands wait, no more may; see the parameters busy and max_queue": {
        "queue_length": 4,
        "is_queue_full": True,
    },
    "only 100 MiB of memory are free on this machine": {"free_mib": 100.0},
}
ERRORS = {
    "configure failed: no weights": {"state": "unconfigured", "failure": "no weights"},
    "activate failed: no such topic": {
        "state": "inactive",
        "transition": "activate",
        "failure": "no such topic",
    },
    "the last 3 commands failed inside the model: boom": {"failures": 3, "failure_text": "boom"},
}


@pytest.mark.parametrize("text", WARNINGS)
def test_a_warning(text):
    found = status(**WARNINGS[text])
    assert (found.level, found.message) == (DiagnosticStatus.WARN, text)


@pytest.mark.parametrize("text", ERRORS)
def test_an_error(text):
    found = status(**ERRORS[text])
    assert (found.level, found.message) == (DiagnosticStatus.ERROR, text)


def test_several_problems_are_all_named_the_worst_first():
    found = status(busy_s=31.0, failures=5, failure_text="boom", **camera(publishers=()))
    assert found.level == DiagnosticStatus.ERROR
    assert found.message == (
        "the last 5 commands failed inside the model: boom; also: nobody publishes /cam; remap "
        "image:=<camera topic>; also: a command has been at work for 31 s"
    )


def test_a_mismatch_beside_a_publisher_that_works_is_no_problem():
    assert status(cameras=(CameraFacts("/cam", (DRIVER, OTHER), age_s=0.2),)).message == "active"


@pytest.mark.parametrize("state", ["unconfigured", "inactive"])
def test_a_node_that_does_not_listen_misses_no_camera(state):
    found = status(state=state, **camera(publishers=()))
    assert found.level == DiagnosticStatus.OK
    assert found.message.startswith(f"{state}: ")


def test_values_tell_what_was_dropped_and_why():
    drops = {"replaced by a newer one": 7, "forgotten": 1}
    wrist = CameraFacts("/wrist/image", (), received=0)
    found = status(cameras=(CameraFacts("/image", (DRIVER,), 9, 10.0, 0.1, drops), wrist))
    values = {v.key: v.value for v in found.values}
    assert values["images replaced by a newer one"] == "7"
    assert values["images forgotten"] == "1"
    assert values["image publishers"] == "1" and values["images received"] == "9"
    assert values["image published by"].startswith("/driver (")
    assert values["image published by (/wrist/image)"] == "nobody"


def test_scenes_in_memory_are_shown_with_their_bytes():
    scenes = SceneMemory(3, 2, 2, pixel_bytes=3 * 2**20, tensor_bytes=5 * 2**19)
    values = {v.key: v.value for v in status(scenes=scenes).values}
    assert values["scenes open"] == "3" and values["scenes encoded"] == "2 of at most 2"
    assert values["scenes pixels MiB"] == "3.0" and values["scenes tensors MiB"] == "2.5"
    assert not any(v.key.startswith("scenes") for v in status().values)


def test_failures_in_a_row_end_with_an_answer():
    statistics = Statistics()
    for code in (GroundedAnswer.MODEL_ERROR, GroundedAnswer.BUSY, GroundedAnswer.INTERNAL):
        statistics.add(GroundedAnswer(error_code=code, error_text=f"because {code}"))
    assert statistics.failures == (2, f"because {GroundedAnswer.INTERNAL}")
    statistics.add(GroundedAnswer(error_code=GroundedAnswer.OK))
    assert statistics.failures[0] == 0
    assert statistics.values()["refused BUSY"] == "1"


def test_images_are_counted_by_what_became_of_them():
    newest = NewestImage()
    for use in (False, True, False):
        newest.put("an image")
        if use:
            newest.use()
            newest.use()
    newest.get()
    assert newest.drops == {"replaced by a newer one": 1, "forgotten": 0}
    newest.clear()
    newest.clear()
    assert newest.drops == {"replaced by a newer one": 1, "forgotten": 1}
    assert newest.count == 3 and newest.use() is None


def profile(reliability="BEST_EFFORT", durability="VOLATILE"):
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy[reliability],
        durability=DurabilityPolicy[durability],
    )


IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


@pytest.mark.parametrize(
    ("kind", "offered", "transport", "asked", "text"),
    [
        (IMAGE, profile(), "raw", profile(), ""),
        (IMAGE, profile("RELIABLE"), "raw", profile(), ""),
        (IMAGE, profile("RELIABLE", "TRANSIENT_LOCAL"), "raw", profile("RELIABLE"), ""),
        (COMPRESSED, profile(), "compressed", profile(), ""),
        (
            IMAGE,
            profile(),
            "raw",
            profile("RELIABLE"),
            "set the parameter image_qos to sensor_data",
        ),
        (
            COMPRESSED,
            profile(),
            "raw",
            profile(),
            "set the parameter image_transport to compressed",
        ),
        (IMAGE, profile(), "compressed", profile(), "image_transport to raw"),
        ("std_msgs/msg/String", profile(), "raw", profile(), "is this the image topic?"),
        (
            IMAGE,
            profile("RELIABLE"),
            "raw",
            profile("RELIABLE", "TRANSIENT_LOCAL"),
            "asks for transient local",
        ),
    ],
)
def test_why_a_publisher_does_not_match(kind, offered, transport, asked, text):
    found = _problem(kind, offered, transport, asked)
    assert text in found and bool(text) == bool(found)
