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

"""The bond for Nav2's lifecycle manager: when it is made and broken, and that bondpy may be absent.

A small stand-in with bondpy's interface notes the calls: this tests the wiring, not a real bond.
"""

import sys

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from test_transitions import Engines

from flmm_ros.ros.node.grounding_node import GroundingNode
from flmm_ros.ros.node.lifecycle_bond import LifecycleBond
from flmm_ros.ros.node.transport_advice import large_message_advice

STAND_IN = """
calls = []


class Bond:
    def __init__(self, topic, id, node, on_broken=None, on_formed=None):
        calls.append(("made", topic, id, node.get_name()))

    def set_heartbeat_period(self, period_s):
        calls.append(("period", period_s))

    def start(self):
        calls.append(("started",))

    def shutdown(self):
        calls.append(("broken",))
"""


@pytest.fixture
def bondpy(tmp_path, monkeypatch):
    """Installs the stand-in and returns its module's list of calls."""
    (tmp_path / "bondpy").mkdir()
    (tmp_path / "bondpy" / "__init__.py").write_text("")
    (tmp_path / "bondpy" / "bondpy.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "bondpy" / "bondpy.py"
    for name in ("bondpy.bondpy", "bondpy"):
        sys.modules.pop(name, None)


def calls():
    return sys.modules["bondpy.bondpy"].calls if "bondpy.bondpy" in sys.modules else []


@pytest.fixture
def node(_rclpy):
    node = GroundingNode(Engines())
    yield node
    node.stop()
    node.destroy_node()


MADE = [("made", "bond", "grounding_node", "grounding_node"), ("period", 0.25), ("started",)]


@pytest.mark.parametrize("end", ["trigger_deactivate", "trigger_shutdown", "stop"])
def test_a_bond_lasts_while_the_node_is_active(bondpy, node, end):
    node.trigger_configure()
    assert calls() == []
    node.trigger_activate()
    assert node.state == "active" and calls() == MADE
    getattr(node, end)()
    assert calls() == [*MADE, ("broken",)]


def test_every_activation_makes_a_bond_of_its_own(bondpy, node):
    node.trigger_configure()
    for _ in range(2):
        node.trigger_activate()
        node.trigger_deactivate()
    node.trigger_cleanup()
    assert calls() == [*MADE, ("broken",), *MADE, ("broken",)]


def test_off_makes_none(bondpy, node):
    assert node.set_parameters([Parameter("bond", value="off")])[0].successful
    node.trigger_configure()
    node.trigger_activate()
    assert node.state == "active" and calls() == []


def test_without_bondpy_nothing_changes(node, monkeypatch):
    monkeypatch.setattr("flmm_ros.ros.node.lifecycle_bond.find_spec", lambda name: None)
    node.trigger_configure()
    node.trigger_activate()
    assert node.state == "active"
    names = {name for name, _ in node.get_topic_names_and_types()}
    assert not any(name.endswith("/bond") for name in names)
    node.trigger_deactivate()
    assert node.state == "inactive"


def test_a_bondpy_that_cannot_be_used_is_no_reason_to_stay_inactive(bondpy, node):
    bondpy.write_text("raise ImportError('no module named bond')")
    node.trigger_configure()
    node.trigger_activate()
    assert node.state == "active"


def test_stop_without_a_bond_does_nothing(_rclpy):
    node = Node("unbound")
    LifecycleBond(node).stop()
    node.destroy_node()


@pytest.mark.parametrize(
    ("rmw", "environment", "is_told"),
    [
        ("rmw_fastrtps_cpp", {}, True),
        ("rmw_fastrtps_cpp", {"FASTDDS_DEFAULT_PROFILES_FILE": ""}, True),
        ("rmw_fastrtps_cpp", {"FASTDDS_DEFAULT_PROFILES_FILE": "/a.xml"}, False),
        ("rmw_fastrtps_cpp", {"FASTRTPS_DEFAULT_PROFILES_FILE": "/a.xml"}, False),
        ("rmw_cyclonedds_cpp", {}, False),
    ],
)
def test_fast_dds_with_its_default_profile_is_told_what_to_set(rmw, environment, is_told):
    advice = large_message_advice(rmw, environment)
    assert ("FASTDDS_DEFAULT_PROFILES_FILE" in advice and "fastdds.xml" in advice) == is_told
    assert bool(advice) == is_told
