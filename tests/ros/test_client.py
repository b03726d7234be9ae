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

"""The client where things end badly: its node is killed, callbacks fail, it is closed."""

import asyncio
import signal
import threading
import time

import numpy as np
import pytest
from harness import PATIENCE, wait_until

from flmm_ros.console.node.bridge import Bridge
from flmm_ros.replay.online.node_link import NodeLink, OnlineError
from flmm_ros.ros.client.client import GroundingClient, GroundingError

IMAGE = np.full((48, 64, 3), 90, np.uint8)
QUESTION = "what can I drink from?"
KNOWN_S = 3.0 * PATIENCE


@pytest.fixture
def node_and_robot(start):
    node, robot = start(script="slow_node.py", autostart=True)
    robot.wait_for_state("active")
    return node, robot


@pytest.mark.parametrize("timeout_s", [0.0, 10.0])
def test_a_node_that_is_killed_under_a_waiting_client_is_missed_soon(node_and_robot, timeout_s):
    node, robot = node_and_robot
    with GroundingClient(robot.node) as client:
        killed_s = []

        def kill(stage, *_):
            if stage == "generate":
                killed_s.append(time.monotonic())
                node.process.send_signal(signal.SIGKILL)

        with pytest.raises(GroundingError, match="went away before it answered"):
            client.ground(QUESTION, image=IMAGE, timeout_s=timeout_s, on_feedback=kill)
        assert time.monotonic() - killed_s[0] < KNOWN_S
        start_s = time.monotonic()
        with pytest.raises(GroundingError, match="found none in 0.5 s"):
            client.ground(QUESTION, wait_for_node_s=0.5)
        assert time.monotonic() - start_s < 2.0


def test_console_and_replay_miss_a_killed_node_soon(node_and_robot):
    node, robot = node_and_robot
    name = f"{robot.node.get_namespace()}/grounding_node"
    loop = asyncio.new_event_loop()
    with (
        NodeLink([], name) as link,
        Bridge(robot.node.context, loop, None, name) as bridge,
    ):
        wait_until(lambda: bridge.health.state == "active", 20.0 * PATIENCE, "the console's view")
        wait_until(
            lambda: link._action.client.server_is_ready(), 20.0 * PATIENCE, "the replay's view"
        )
        link.check()
        time.sleep(1.0)  # the lease is known a moment later than the action
        node.process.send_signal(signal.SIGKILL)
        killed_s = time.monotonic()
        wait_until(lambda: bridge.health.state == "", KNOWN_S, "the console to miss it")
        left_s = KNOWN_S - (time.monotonic() - killed_s)
        wait_until(lambda: is_missed(link), max(left_s, 0.5), "the replay to miss it")
    loop.close()


def is_missed(link: NodeLink) -> bool:
    try:
        link.check()
    except OnlineError as error:
        return "went away" in str(error)
    return False


def test_a_node_that_works_for_long_is_not_missed(node_and_robot):
    """Slow stages, of a model that sleeps: the lease is kept up all the same."""
    _, robot = node_and_robot
    with GroundingClient(robot.node) as client:
        goals = [client.ground(QUESTION, image=IMAGE, timeout_s=0) for _ in range(2)]
        assert [goal.error for goal in goals] == ["OK", "OK"]
        assert not client._action.liveliness.is_lost


@pytest.mark.parametrize("error", [ValueError("on purpose"), SystemExit(3)])
def test_what_a_callback_raises_comes_out_and_the_client_goes_on(node_and_robot, error):
    _, robot = node_and_robot

    def fail(*_):
        raise error

    with GroundingClient(robot.node) as client:
        with pytest.raises(type(error)):
            client.ground(QUESTION, image=IMAGE, timeout_s=0, on_feedback=fail)
        result = client.ground(f"quickly: {QUESTION}", image=IMAGE, timeout_s=0)
    assert result.error == "OK"


def test_a_client_that_is_closed_meanwhile_waits_no_longer(node_and_robot):
    _, robot = node_and_robot
    client, errors = GroundingClient(robot.node), []

    def ask():
        try:
            client.ground(QUESTION, image=IMAGE, timeout_s=0)
        except GroundingError as error:
            errors.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: client._action.goals, 5, "the goal")
    client.close()
    asking.join(5)
    assert errors == ["the client was closed while the answer was waited for"]
