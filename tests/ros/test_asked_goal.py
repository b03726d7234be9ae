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

"""Goals reach the node and their answers come back, whatever gets lost, and none is done twice.

The real server of the action in this process, over DDS; what DDS loses between two programs that
have only just found each other is lost here on purpose, at the client's own end of the wire.
"""

import threading
import time
from contextlib import contextmanager

import pytest
from harness import wait_until
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client import asked_goal
from flmm_ros.ros.client.client import GroundingClient, GroundingError
from flmm_ros.ros.commands.goals import GoalServer

NAMESPACE = "/asked_goal"


class Answerer:
    """A node with the real server; says the command back, after a while, and notes what it did."""

    def __init__(self):
        self.node = Node("grounding_node", namespace=NAMESPACE)
        self.done: list[str] = []
        self.wait_s = 0.0
        self.server = GoalServer(self.node, self._submit)
        self._executor = MultiThreadedExecutor(4)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def _submit(self, command, timeout_s, is_cancelled):
        self.done.append(command.text)
        threading.Thread(target=self._answer, args=(command, is_cancelled), daemon=True).start()

    def _answer(self, command, is_cancelled):
        end_s = time.monotonic() + self.wait_s
        while time.monotonic() < end_s and not is_cancelled():
            time.sleep(0.01)
        code = GroundedAnswer.CANCELED if is_cancelled() else GroundedAnswer.OK
        msg = GroundedAnswer(command=command.text, answer=f"said {command.text}", error_code=code)
        msg.mask.encoding = "mono8"
        command.on_done(msg)

    def close(self):
        self._executor.shutdown()
        self._thread.join(10)
        self.server.destroy()
        self.node.destroy_node()


class Wire:
    """rclpy's own end of an action, from which answers can be lost."""

    def __init__(self, end):
        self._end = end
        self.lost = {"goal": 0, "result": 0}  # so many are still to be lost
        self.sent = 0

    def __enter__(self):
        return self._end.__enter__()

    def __exit__(self, *details):
        return self._end.__exit__(*details)

    def __getattr__(self, name):
        return getattr(self._end, name)

    def send_goal_request(self, request):
        self.sent += 1
        return self._end.send_goal_request(request)

    def take_goal_response(self, kind):
        return self._taken("goal", self._end.take_goal_response(kind))

    def take_result_response(self, kind):
        return self._taken("result", self._end.take_result_response(kind))

    def _taken(self, what, response):
        if not self.lost[what] or not response[0]:
            return response
        self.lost[what] -= 1
        return (None, None)  # what rclpy gets where nothing was there


@pytest.fixture(scope="module")
def answerer(_rclpy):
    found = Answerer()
    yield found
    found.close()


@pytest.fixture
def asking(answerer, monkeypatch):
    """Makes clients with a wire of their own; asks again sooner than after seconds."""
    monkeypatch.setattr(asked_goal, "AGAIN_S", 0.4)
    answerer.done.clear()
    answerer.wait_s = 0.0
    robot = Node("asking_robot", namespace=NAMESPACE)

    @contextmanager
    def make(**lost):
        with GroundingClient(robot) as client:
            wire = client._action.client._client_handle = Wire(client._action.client._client_handle)
            wire.lost |= lost
            yield client, wire

    yield make
    robot.destroy_node()


def test_a_lost_acceptance_is_asked_for_again(asking, answerer):
    with asking(goal=2) as (client, wire):
        result = client.ground("the mug", timeout_s=20.0, wait_for_node_s=20.0)
    assert result.text == "said the mug" and result.is_ok
    assert wire.sent == 3 and answerer.done == ["the mug"]


def test_also_while_the_command_is_at_work(asking, answerer):
    """The second sending finds the first at work, and waits for its answer."""
    answerer.wait_s = 2.0
    with asking(goal=1) as (client, wire):
        assert client.ground("the cup", timeout_s=20.0, wait_for_node_s=20.0).text == "said the cup"
    assert wire.sent == 2 and answerer.done == ["the cup"]


def test_a_lost_result_is_asked_for_again(asking, answerer):
    with asking(result=2) as (client, wire):
        result = client.ground("the ring", timeout_s=20.0, wait_for_node_s=20.0)
    assert result.text == "said the ring"
    assert wire.sent == 1 and answerer.done == ["the ring"]


def test_an_acceptance_that_comes_while_the_goal_is_noted_down(asking, answerer):
    """rclpy does so after it has sent the goal, with a second future in the place of the first."""

    class Slow(dict):
        def __setitem__(self, key, value):
            time.sleep(0.3)
            super().__setitem__(key, value)

    with asking() as (client, wire):
        client._action.client._feedback_callbacks = Slow()
        result = client.ground("the duck", timeout_s=20.0, wait_for_node_s=20.0)
    assert result.text == "said the duck"
    assert wire.sent == 1 and answerer.done == ["the duck"]


def test_without_losses_everything_is_sent_once(asking, answerer):
    answerer.wait_s = 1.5  # longer than it takes to ask again
    with asking() as (client, wire):
        client.ground("the bowl", timeout_s=20.0, wait_for_node_s=20.0)
    assert wire.sent == 1 and answerer.done == ["the bowl"]


def test_a_goal_is_not_sent_for_ever(asking, answerer, monkeypatch):
    """Nor so late that the server may have forgotten it."""
    monkeypatch.setattr(asked_goal, "LAST_S", 1.0)
    monkeypatch.setattr("flmm_ros.ros.client.client._ANSWER_MARGIN_S", 2.5)
    with (
        asking(goal=1000) as (client, wire),
        pytest.raises(GroundingError, match="did not answer in time"),
    ):
        client.ground("the sock", timeout_s=0.5, wait_for_node_s=20.0)
    assert 2 <= wire.sent <= 4 and answerer.done == ["the sock"]


def test_who_stops_waiting_cancels(asking, answerer, monkeypatch):
    answerer.wait_s = 20.0
    monkeypatch.setattr("flmm_ros.ros.client.client._ANSWER_MARGIN_S", 0.0)
    begin_s = time.monotonic()
    with asking() as (client, _), pytest.raises(GroundingError, match="did not answer in time"):
        client.ground("the shoe", timeout_s=1.0, wait_for_node_s=20.0)
    status = {}
    with asking() as (client, _):
        answerer.wait_s = 0.0
        status["after"] = client.ground("the hat", timeout_s=20.0, wait_for_node_s=20.0).text
    assert status["after"] == "said the hat" and time.monotonic() - begin_s < 15.0
    assert answerer.done == ["the shoe", "the hat"]


def test_feedback_that_cannot_be_taken_ends_the_call(asking, answerer):
    answerer.wait_s = 1.0

    def broken(stage, text, elapsed_s):
        raise ValueError(f"no room for {stage}")

    with asking() as (client, _):
        wait_until(client._action.client.server_is_ready, 20.0, "the server")
        time.sleep(1.0)  # the feedback's topic connects by itself
        with pytest.raises(ValueError, match="no room for queued"):
            client.ground("the vase", timeout_s=20.0, on_feedback=broken)
        assert client.ground("the lamp", timeout_s=20.0).text == "said the lamp"
