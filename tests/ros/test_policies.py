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

"""Cancel at every stage, timeouts, two commands at once under each policy, deactivation at work.

Against the real node with slow stages; after each of them the next command is answered.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from action_msgs.msg import GoalStatus
from harness import wait_until

from flmm_ros.engine.progress import Stage
from flmm_ros.msg import GroundedAnswer

SEED = 1_000_003
CANCEL_S = 1.5  # longer than one slow stage and the way there and back


@pytest.fixture(scope="module")
def scene(table):
    return table.render(SEED)


@pytest.fixture(scope="module")
def name(scene):
    return f"the {scene.objects[0].name}"


@pytest.fixture(scope="module")
def robot(start, scene):
    _, robot = start(script="slow_node.py", autostart=True, scene_cache=0)
    robot.wait_for_state("active")
    robot.show(scene.rgb)
    return robot


@pytest.fixture(autouse=True)
def the_next_good_command_works(robot, scene, name):
    """Whatever a test did, a plain command is answered after it, once, and nothing came twice."""
    yield
    assert robot.set(busy="queue", max_queue=8, command_timeout=0.0) == []
    robot.show(scene.rgb)
    msg = robot.say(f"quickly: point at {name}")
    assert (msg.error_code, msg.error_text) == (GroundedAnswer.OK, "")
    ids = [m.command_id for m in robot.seen.grounding]
    assert len(ids) == len(set(ids))


QUESTION = "what can I drink from?"


@pytest.mark.parametrize("stage", ["queued", *(s.value for s in Stage)])
def test_cancel_at_every_stage(robot, name, stage):
    is_question = stage == Stage.GENERATE.value
    goal = robot.send(QUESTION if is_question else f"point at {name}")
    goal.wait_for_stage(stage)
    goal.cancel()
    start_s = time.monotonic()
    msg = goal.result()
    assert time.monotonic() - start_s < CANCEL_S
    assert (msg.error_code, msg.error_text) == (GroundedAnswer.CANCELED, "cancelled by the client")
    assert goal.status == GoalStatus.STATUS_CANCELED
    order = ["encode", "generate"] if is_question else ["encode", "read", "decode", "see", "refine"]
    order.insert(0, "queued")
    assert goal.stages[: order.index(stage) + 1] == order[: order.index(stage) + 1]
    assert len(goal.stages) <= order.index(stage) + 2  # at most the one that had begun


def test_cancel_of_a_goal_that_waits_is_answered_before_its_turn(robot, name):
    first = robot.send(f"point at {name}")
    second = robot.send(f"point at {name}")
    first.wait_for_stage("encode")
    second.cancel()
    assert second.result().error_code == GroundedAnswer.CANCELED
    assert second.stages == ["queued"]
    assert first.result().error_code == GroundedAnswer.OK


def test_a_goal_out_of_time_while_it_works_and_while_it_waits(robot, name):
    first = robot.send(f"point at {name}", timeout_s=0.6)
    second = robot.send(f"point at {name}", timeout_s=0.3)
    assert second.result().error_code == GroundedAnswer.TIMEOUT
    assert first.result().error_code == GroundedAnswer.TIMEOUT
    assert second.status == GoalStatus.STATUS_ABORTED


def test_the_parameter_command_timeout_limits_topic_commands(robot, name):
    assert robot.set(command_timeout=0.3) == []
    msg = robot.say(f"point at {name}")
    assert msg.error_code == GroundedAnswer.TIMEOUT


def test_queue_answers_two_commands_in_order(robot, name):
    first, second = robot.say_all([f"point at {name}", f"where is {name}"])
    assert [first.error_code, second.error_code] == [GroundedAnswer.OK] * 2
    assert first.command.startswith("point") and second.command.startswith("where")
    assert second.wait_ms > first.total_ms * 0.5 > first.wait_ms


def test_a_full_queue_refuses_with_busy(robot, name):
    assert robot.set(max_queue=1) == []
    goal = robot.send(f"point at {name}")
    goal.wait_for_stage("encode")
    msgs = robot.say_all([f"point at {name}", "show me more"])[:2]
    busy = next(m for m in msgs if m.error_code == GroundedAnswer.BUSY)
    assert busy.command == "show me more"
    assert "max_queue" in busy.error_text
    assert goal.result().error_code == GroundedAnswer.OK


def test_preempt_stops_the_older_one(robot, name):
    assert robot.set(busy="preempt") == []
    goal = robot.send(f"point at {name}")
    goal.wait_for_stage("encode")
    newer = robot.send(f"point at {name}")
    old = goal.result()
    assert old.error_code == GroundedAnswer.PREEMPTED
    assert goal.status == GoalStatus.STATUS_ABORTED
    assert "newer command" in old.error_text
    assert newer.result().error_code == GroundedAnswer.OK
    assert newer.status == GoalStatus.STATUS_SUCCEEDED


def test_reject_refuses_the_newer_one(robot, name):
    assert robot.set(busy="reject") == []
    goal = robot.send(f"point at {name}")
    goal.wait_for_stage("encode")
    newer = robot.send(f"point at {name}")
    assert newer.result().error_code == GroundedAnswer.BUSY
    assert newer.stages == ["queued"]
    assert goal.result().error_code == GroundedAnswer.OK


def test_deactivation_answers_what_works_and_what_waits(robot, name):
    first, second = robot.send(f"point at {name}"), robot.send(f"point at {name}")
    first.wait_for_stage("encode")
    assert robot.change("deactivate")
    assert first.result().error_code == GroundedAnswer.NOT_ACTIVE
    assert second.result().error_code == GroundedAnswer.NOT_ACTIVE
    assert robot.state == "inactive"
    assert robot.change("activate")
    robot.wait_for_state("active")


def test_feedback_shows_the_text_as_it_grows(robot):
    goal = robot.send(QUESTION, intent="answer_and_ground")
    msg = goal.result()
    texts = [f.partial_text for f in goal.feedback if f.stage == "generate" and f.partial_text]
    assert msg.error_code == GroundedAnswer.OK
    assert texts and all(b.startswith(a) for a, b in itertools.pairwise(texts))
    assert msg.answer.startswith(texts[-1].strip())
    times = [f.elapsed_s for f in goal.feedback]
    assert times == sorted(times) and times[-1] > 0.5


def test_the_state_can_be_asked_for_while_the_model_works(robot, name):
    goal = robot.send(f"point at {name}")
    goal.wait_for_stage("encode")
    start_s = time.monotonic()
    assert robot.state == "active"
    assert time.monotonic() - start_s < 0.5
    wait_until(lambda: goal.result() is not None, 10, "answer")


def test_ctrl_c_of_the_command_line_cancels_its_command(robot):
    """Whoever stops waiting stops the work: the node hears of it before the program has ended."""
    program = [
        sys.executable,
        "-u",
        "-m",
        "flmm_ros.cli.main",
        "ask",
        "--timeout",
        "60",
        QUESTION,
    ]
    place = ["--ros-args", "-r", f"__ns:={robot.node.get_namespace()}"]
    root = str(Path(__file__).resolve().parents[2])
    before = len(robot.seen.grounding)
    asking = subprocess.Popen(
        [*program, *place],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"},
        # Where the tests run in the background, a shell has SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert asking.stdout is not None
    shown = ""
    while "generate" not in shown:
        more = asking.stdout.read(1)
        assert more, shown
        shown += more
    asking.send_signal(signal.SIGINT)
    rest, _ = asking.communicate(timeout=30)
    assert asking.returncode == 130 and rest.endswith("flmm ask: cancelled\n")
    wait_until(lambda: len(robot.seen.grounding) > before, 30, "the end of the command")
    assert robot.seen.grounding[before].error_code == GroundedAnswer.CANCELED
