"""Parameters come from the dataclasses, with their type, range, choices and description."""

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.ros.interface.parameters import (
    SETTINGS,
    NodeConfig,
    SpaceConfig,
    declare,
    read,
    settings_of,
)


def test_every_field_of_the_dataclasses_is_a_parameter():
    configs = (GrounderConfig, TargetConfig, NodeConfig, SpaceConfig)
    names = [s.name for c in configs for s in settings_of(c)]
    assert list(SETTINGS) == names and len(names) == len(set(names))
    assert {"model", "score_threshold", "busy", "max_image_age", "autostart"} <= set(names)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda s: s.name)
def test_every_parameter_describes_itself_and_accepts_its_default(setting):
    descriptor = setting.descriptor()
    assert descriptor.name == setting.name
    assert descriptor.description.startswith(setting.doc) and len(setting.doc) > 10
    assert setting.refusal(setting.default) is None


def test_ranges_and_choices_reach_the_descriptor():
    threshold = SETTINGS["score_threshold"].descriptor().floating_point_range[0]
    assert (threshold.from_value, threshold.to_value) == (-1.0, 1.0)
    queue = SETTINGS["max_queue"].descriptor().integer_range[0]
    assert (queue.from_value, queue.to_value, queue.step) == (0, 1000, 1)
    assert SETTINGS["busy"].descriptor().additional_constraints == "one of: queue, preempt, reject"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("busy", "later", "busy: expected one of queue, preempt, reject, got 'later'"),
        ("max_queue", 1001, "max_queue: expected a value in 0..1000, got 1001"),
        ("max_queue", 1.5, "max_queue: expected int, got float 1.5"),
        ("max_queue", True, "max_queue: expected int, got bool True"),
        ("score_threshold", -1.01, "score_threshold: expected a value in -1..1, got -1.01"),
        ("max_image_age", float("nan"), "max_image_age: expected a value in 0..86400, got nan"),
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
