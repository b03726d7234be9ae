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

"""Lifecycle transitions that fail: each tells why, frees what it opened, and can be tried again.

The node itself in this process, with an engine that counts how often it is loaded and freed.
"""

import threading
import time

import numpy as np
import pytest
from harness import wait_until
from rclpy.parameter import Parameter

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.runtime.scene_cache import SceneMemory
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.node.executor import NodeExecutor
from flmm_ros.ros.node.grounding_node import GroundingNode


class Engines:
    """Loads engines; `held`: those that were not freed; `trouble`: raised by the next load."""

    model_name, backend, score_threshold = "counted", "none", 0.5
    scene_memory = SceneMemory(0, 0, 2, 0, 0)

    def __init__(self):
        self.held, self.most, self.trouble = [], 0, None
        self.loading, self.may_load, self.freed_by = threading.Event(), threading.Event(), []
        self.may_load.set()

    def __call__(self, config):
        self.loading.set()
        self.may_load.wait(20)
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise trouble
        engine = Engine(self)
        self.held.append(engine)
        self.most = max(self.most, len(self.held))
        return engine


class Engine:
    """One of them."""

    model_name, backend, score_threshold = "counted", "none", 0.5
    scene_memory = SceneMemory(0, 0, 2, 0, 0)

    def __init__(self, engines):
        self._engines = engines

    def warm_up(self):
        pass

    def close(self):
        self._engines.held.remove(self)
        self._engines.freed_by.append(threading.current_thread().name)


@pytest.fixture
def engines():
    return Engines()


@pytest.fixture
def node(_rclpy, engines):
    node = GroundingNode(engines)
    yield node
    node.stop()
    node.destroy_node()


def refusal(node):
    """What a command is answered with now."""
    answers = []
    command = Command("id", "the red mug", on_done=answers.append)
    node._submit(command, 0.0, lambda: False)
    assert answers[0].error_code == GroundedAnswer.NOT_ACTIVE
    return answers[0].error_text


def diagnosed(node):
    said = []
    node._diagnostics.publish = said.append
    node._watch()
    return said[-1].status[0]


def raising(error):
    def fail(*_):
        raise error

    return fail


def works_now(node, engines):
    """Configured and activated without a word of the failure, with one model."""
    if node.state == "unconfigured":
        node.trigger_configure()
    node.trigger_activate()
    assert node.state == "active" and len(engines.held) == 1 and engines.most == 1
    assert "failed" not in diagnosed(node).message


@pytest.mark.parametrize(
    "error", [CheckpointError("no weights"), RuntimeError("boom"), SystemExit(3), MemoryError()]
)
def test_a_configure_that_fails(node, engines, error):
    engines.trouble = error
    node.trigger_configure()
    assert node.state == "unconfigured" and engines.held == []
    reason = str(error) if isinstance(error, CheckpointError) else type(error).__name__
    assert f"its state is unconfigured, configure failed: {reason}" in refusal(node)
    assert diagnosed(node).message.startswith(f"configure failed: {reason}")
    works_now(node, engines)


@pytest.mark.parametrize("part", ["_cameras", "_depth_pipeline", "_worker"])
def test_an_activate_that_fails_closes_what_it_opened(node, engines, part, monkeypatch):
    node.trigger_configure()
    with monkeypatch.context() as patch:
        patch.setattr(getattr(node, part), "open", raising(RuntimeError("no such topic")))
        node.trigger_activate()
    assert node.state == "inactive" and len(engines.held) == 1
    text = "activate failed: RuntimeError: no such topic"
    assert f"its state is inactive, {text}" in refusal(node)
    assert diagnosed(node).message == text
    assert [s.topic_name for s in node.subscriptions if s.topic_name.endswith("image")] == []
    works_now(node, engines)


def test_an_activate_that_fails_can_be_cleaned_up_and_configured(node, engines, monkeypatch):
    node.trigger_configure()
    with monkeypatch.context() as patch:
        patch.setattr(node._cameras, "open", raising(RuntimeError("no such topic")))
        node.trigger_activate()
    node.trigger_cleanup()
    assert node.state == "unconfigured" and engines.held == []
    works_now(node, engines)


@pytest.mark.parametrize(
    ("transition", "part"),
    [("deactivate", "_cameras"), ("deactivate", "_hold_service"), ("cleanup", "_chats")],
)
def test_a_transition_that_fails_half_way_frees_everything(
    node, engines, transition, part, monkeypatch
):
    node.trigger_configure()
    if transition == "deactivate":
        node.trigger_activate()
    method = {"_cameras": "close", "_hold_service": "stop", "_chats": "clear"}[part]
    broken = getattr(node, part)
    failing = iter([RuntimeError("stuck")])
    real = getattr(broken, method)

    def once(*arguments):
        for error in failing:
            raise error
        return real(*arguments)

    monkeypatch.setattr(broken, method, once)
    getattr(node, f"trigger_{transition}")()
    assert node.state == "unconfigured" and engines.held == []
    assert f"{transition} failed: RuntimeError: stuck" in refusal(node)
    assert diagnosed(node).message == f"{transition} failed: RuntimeError: stuck"
    works_now(node, engines)


def test_a_shutdown_ends_the_node_whatever_fails(node, engines, monkeypatch):
    node.trigger_configure()
    node.trigger_activate()
    with monkeypatch.context() as patch:
        patch.setattr(node._cameras, "close", raising(RuntimeError("stuck")))
        node.trigger_shutdown()
    assert node.state == "finalized" and engines.held == []


def test_a_second_configure_meanwhile_loads_no_second_model(node, engines):
    engines.may_load.clear()
    first = threading.Thread(target=node.trigger_configure)
    first.start()
    assert engines.loading.wait(5)
    node.trigger_configure()
    engines.may_load.set()
    first.join(5)
    assert node.state == "inactive" and engines.most == 1


def test_a_model_that_was_being_loaded_is_freed_by_its_own_thread(node, engines):
    engines.may_load.clear()
    loading = threading.Thread(target=node.trigger_configure, name="loads")
    loading.start()
    assert engines.loading.wait(5)
    start_s = time.monotonic()
    node.stop()
    assert time.monotonic() - start_s < 5.0
    engines.may_load.set()
    loading.join(5)
    assert engines.held == [] and engines.freed_by == ["loads"]


def test_an_activation_at_start_that_fails_says_why(_rclpy, engines, monkeypatch):
    node = GroundingNode(engines)
    node.set_parameters([Parameter("autostart", value=True)])
    monkeypatch.setattr(node._cameras, "open", raising(RuntimeError("no such topic")))
    executor = NodeExecutor()
    executor.add_node(node)

    def has_failed():
        executor.spin_once(timeout_sec=0.05)
        return node._failure

    wait_until(has_failed, 20, "the failure")
    wait_until(lambda: node.state == "inactive", 5, "the end of the transition")
    assert diagnosed(node).message == "activate failed: RuntimeError: no such topic"
    node.stop()
    executor.shutdown()
    node.destroy_node()


def test_an_answer_that_cannot_be_published_ends_its_goal_and_the_next_is_answered(
    node, monkeypatch
):
    answers = []
    monkeypatch.setattr(node._answers, "publish", raising(RuntimeError("no topic")))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no topic"):
            node._submit(Command("id", "", on_done=answers.append), 0.0, lambda: False)
    assert [msg.error_code for msg in answers] == [GroundedAnswer.EMPTY_COMMAND] * 2


def test_a_refusal_that_cannot_be_written_is_an_internal_error(node, monkeypatch):
    answers = []
    monkeypatch.setattr(node, "_refuse", raising(KeyError("text")))
    node._submit(Command("id", "", on_done=answers.append), 0.0, lambda: False)
    assert answers[0].error_code == GroundedAnswer.INTERNAL and "KeyError" in answers[0].error_text
    assert np.isclose(answers[0].image_age_s, -1.0)
