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

"""The SROS 2 example names all that the node has, and gives a robot program only what it needs."""

from importlib.util import find_spec
from xml.etree import ElementTree

import pytest

if find_spec("rclpy") is None:
    pytest.skip("no rclpy here", allow_module_level=True)

from flmm_ros.ros.interface import endpoints
from scripts.docs import security_policy


def allowed(node, kind, may):
    root = ElementTree.fromstring(security_policy.policy())
    profile = root.find(f".//profile[@node='{node}']")
    return {
        name.text
        for rule in profile.findall(kind)
        if rule.get(may) == "ALLOW"
        for name in rule.findall(kind[:-1])
    }


def test_the_file_is_what_the_code_says():
    assert security_policy.main(["--check"]) == 0


def test_the_node_may_do_what_it_does():
    node = security_policy.NODE
    private = {e.name.replace("~/", "~") for e in endpoints.OUTPUTS}
    assert private <= allowed(node, "topics", "publish")
    assert {"image", "command", "/clock"} <= allowed(node, "topics", "subscribe")
    assert allowed(node, "actions", "execute") == {"~ground"}
    assert {"~hold", "~change_state", "~set_parameters"} <= allowed(node, "services", "reply")


def test_the_node_may_neither_command_itself_nor_send_images():
    assert not {"command", "image", "depth"} & allowed(security_policy.NODE, "topics", "publish")


def test_a_robot_program_may_ask_and_listen_and_nothing_else():
    robot, client = security_policy.ROBOT, security_policy.CLIENT
    heard = allowed(robot, "topics", "subscribe")
    assert {"/grounding_node/grounding", "/grounding_node/mask"} <= heard
    assert allowed(client, "actions", "call") == {"/grounding_node/ground"}
    assert allowed(robot, "topics", "publish") == {"/command", "/rosout", "/parameter_events"}
    for name in (robot, client):
        assert not allowed(name, "services", "request")
        assert not {"/image", "image"} & allowed(name, "topics", "publish")
