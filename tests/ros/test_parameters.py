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

"""Parameters come from the dataclasses, with their type, range, choices and description."""

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.config.schema import settings_of
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.ros.interface.node_config import NodeConfig, SpaceConfig
from flmm_ros.ros.interface.parameters import SETTINGS, declare, descriptor_of, read


def test_every_field_of_the_dataclasses_is_a_parameter():
    configs = (GrounderConfig, TargetConfig, NodeConfig, SpaceConfig)
    names = [s.name for c in configs for s in settings_of(c)]
    assert list(SETTINGS) == names and len(names) == len(set(names))
    assert {"model", "score_threshold", "busy", "max_image_age", "autostart"} <= set(names)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda s: s.name)
def test_every_parameter_describes_itself_and_accepts_its_default(setting):
    descriptor = descriptor_of(setting)
    assert descriptor.name == setting.name
    assert descriptor.description.startswith(setting.doc) and len(setting.doc) > 10
    assert setting.refusal(setting.default) is None


def test_ranges_and_choices_reach_the_descriptor():
    threshold = descriptor_of(SETTINGS["score_threshold"]).floating_point_range[0]
    assert (threshold.from_value, threshold.to_value) == (-1.0, 1.0)
    queue = descriptor_of(SETTINGS["max_queue"]).integer_range[0]
    assert (queue.from_value, queue.to_value, queue.step) == (0, 1000, 1)
    assert (
        descriptor_of(SETTINGS["busy"]).additional_constraints == "one of: queue, preempt, reject"
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("busy", "later", "busy: expected one of queue, preempt, reject, got 'later'"),
        ("max_queue", 1001, "max_queue: expected 0 to 1000, got 1001"),
        ("max_queue", 1.5, "max_queue: expected int, got float 1.5"),
        ("max_queue", True, "max_queue: expected int, got bool True"),
        ("score_threshold", -1.01, "score_threshold: expected -1.0 to 1.0, got -1.01"),
        ("max_image_age", float("nan"), "max_image_age: expected 0.0 to 86400.0, got nan"),
        ("max_image_age", None, "max_image_age: expected float, got NoneType None"),
        ("max_image_age", 5, None),
        ("publish_overlay", 1, "publish_overlay: expected bool, got int 1"),
        ("publish_overlay", True, None),
        ("hold", True, None),
        ("depth", False, None),
        ("depth", True, "depth: expected str, got bool True"),
        ("model", True, "model: expected str, got bool True"),
    ],
)
def test_bad_values_are_refused_with_the_reason(name, value, reason):
    assert SETTINGS[name].refusal(value) == reason


@pytest.fixture
def node(_rclpy):
    """A configured node, as far as parameters go; `unconfigured` makes it one that is not."""
    node = Node("with_parameters", namespace="/parameters")
    node.is_unconfigured = True
    declare(node, lambda: node.is_unconfigured)
    node.is_unconfigured = False
    yield node
    node.destroy_node()


def set_one(node, name, value):
    """The reason of a refusal, or None."""
    result = node.set_parameters([Parameter(name, value=value)])[0]
    return None if result.successful else result.reason


def test_on_and_off_can_be_written_as_they_stand_in_the_documentation(_rclpy):
    """YAML reads both as truth values, also those of the command line."""
    given = ["--ros-args", "-p", "hold:=on", "-p", "depth:=off"]
    node = Node("parameters_as_written", cli_args=given)
    declare(node, lambda: True)
    space = read(node, SpaceConfig)
    assert (space.hold, space.depth) == ("on", "off")
    changed = node.set_parameters([Parameter("hold", value=False)])
    assert changed[0].successful and read(node, SpaceConfig).hold == "off"
    node.destroy_node()


@pytest.mark.parametrize(
    ("name", "written", "kept"),
    [("hold", True, "on"), ("hold", False, "off"), ("max_image_age", 5, 5.0)],
)
def test_a_parameter_keeps_its_type_however_it_is_written(node, name, written, kept):
    assert set_one(node, name, written) is None
    value = node.get_parameter(name).value
    assert (type(value), value) == (type(kept), kept)


def test_a_value_at_start_has_the_type_of_the_parameter_too(_rclpy):
    given = ["--ros-args", "-p", "max_image_age:=5", "-p", "hold:=on"]
    node = Node("parameters_at_start", cli_args=given)
    declare(node, lambda: True)
    kinds = {name: node.get_parameter(name).type_ for name in ("max_image_age", "hold")}
    assert kinds == {"max_image_age": Parameter.Type.DOUBLE, "hold": Parameter.Type.STRING}
    node.destroy_node()


def test_what_a_configured_node_dumps_can_be_loaded_into_it(node):
    dump = [node.get_parameter(name) for name in SETTINGS]
    assert [r.reason for r in node.set_parameters(dump) if not r.successful] == []
    assert set_one(node, "model", "other") == (
        "model is read by configure and the node is configured; deactivate and clean up first"
    )
    assert node.get_parameter("model").value == "tabletop"


@pytest.mark.parametrize(
    "name",
    [
        "front-left",
        "1cam",
        "192_168_0_155",
        "front camera",
        "front//left",
        "été",
        "front/",
        "a" * 300,
        "{node}",
        "/",
        "head.left",
    ],
)
def test_a_camera_whose_topic_ros_does_not_allow_is_refused_by_name(node, name):
    node.is_unconfigured = True
    reason = set_one(node, "cameras", f"wrist, {name}")
    assert reason is not None and reason.startswith("cameras: expected names of letters")
    assert repr(name) in reason
    assert node.get_parameter("cameras").value == ""


@pytest.mark.parametrize(
    "names", ["front,wrist", "front, wrist,", "/head/camera", "head/_left", ""]
)
def test_cameras_that_make_topics_are_taken(node, names):
    node.is_unconfigured = True
    assert set_one(node, "cameras", names) is None


@pytest.mark.parametrize("frame", ["/base_link", "base link", " base"])
def test_a_frame_that_tf2_does_not_take_is_refused(node, frame):
    assert set_one(node, "target_frame", frame).startswith("target_frame: expected a frame's name")
    assert set_one(node, "target_frame", "arm/base_link") is None
