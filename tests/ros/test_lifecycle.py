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

"""Transitions, models that cannot be loaded, bad parameters at start, signals, the client."""

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from harness import ANSWER_S, MODEL, ROOT, START_S, NodeProcess, wait_until
from std_msgs.msg import Header

from flmm_ros.cli import ask
from flmm_ros.cli.command_line import BAD_INPUT
from flmm_ros.cli.main import main
from flmm_ros.engine.config import find_model
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client.client import GroundingClient, GroundingError
from flmm_ros.ros.interface.error_codes import CODE_NAMES
from flmm_ros.ros.messages import conversions

SEED = 1_000_007


@pytest.fixture(scope="module")
def scene(table):
    return table.render(SEED)


@pytest.fixture(scope="module")
def node_and_robot(start, tmp_path_factory):
    """A node that starts itself with a model that is not there."""
    missing = tmp_path_factory.mktemp("models") / "nowhere"
    return start(model=missing, autostart=True, max_quue=3)


@pytest.fixture(scope="module")
def node(node_and_robot):
    return node_and_robot[0]


@pytest.fixture(scope="module")
def robot(node_and_robot):
    return node_and_robot[1]


@pytest.fixture(scope="module")
def truncated(tmp_path_factory) -> Path:
    """A copy of the model whose largest file ends in the middle."""
    folder = tmp_path_factory.mktemp("models") / "truncated"
    model = find_model(MODEL)
    source = Path(model.heads).parent
    shutil.copytree(source, folder)
    largest = max(folder.rglob("*.safetensors"), key=lambda p: p.stat().st_size)
    with largest.open("r+b") as file:
        file.truncate(largest.stat().st_size // 2)
    return folder


# The tests of this file tell one node's life, in this order.


def test_a_missing_model_leaves_the_node_unconfigured_and_it_says_why(node, robot):
    wait_until(lambda: "configure failed" in node.text(), START_S, "the failure in the log")
    assert robot.state == "unconfigured"
    for msg in (robot.say("point at the red mug"), robot.ask("point at the red mug")):
        assert msg.error_code == GroundedAnswer.NOT_ACTIVE
        assert "its state is unconfigured" in msg.error_text
        assert "nowhere" in msg.error_text
    status = wait_until(lambda: robot.seen.diagnostics, ANSWER_S, "diagnostics")[-1].status[0]
    assert status.level == b"\x02"
    assert status.message.startswith("configure failed: ") and "nowhere" in status.message


def test_a_misspelt_parameter_is_named(node):
    text = "parameter 'max_quue' is unknown and has no effect; did you mean 'max_queue'?"
    assert text in node.text()


def test_activate_before_configure_is_refused(robot):
    assert not robot.change("activate")
    assert robot.state == "unconfigured"


def test_a_truncated_model_fails_with_the_file_and_can_be_replaced(node, robot, truncated):
    assert robot.set(model=str(truncated)) == []
    assert not robot.change("configure")
    assert robot.state == "unconfigured"
    msg = robot.say("point at the red mug")
    assert msg.error_code == GroundedAnswer.NOT_ACTIVE
    assert "truncated" in msg.error_text
    assert "Traceback" not in node.text()


def test_a_device_that_does_not_exist_is_refused_by_configure(robot):
    assert robot.set(model=MODEL, device="abacus") == []
    assert not robot.change("configure")
    assert "device: expected auto, cpu" in robot.say("hello").error_text
    assert robot.set(device="cpu") == []


def test_configure_after_the_parameter_was_mended(robot):
    assert robot.change("configure")
    assert robot.state == "inactive"
    msg = robot.say("point at the red mug")
    assert msg.error_code == GroundedAnswer.NOT_ACTIVE
    assert msg.error_text == "the node is not active: its state is inactive"
    assert robot.camera.get_subscription_count() == 0


def test_configure_twice_is_refused(robot):
    assert not robot.change("configure")
    assert robot.state == "inactive"


def test_activate_twice_is_refused_and_the_node_goes_on(robot, scene):
    assert robot.change("activate")
    assert not robot.change("activate")
    assert robot.state == "active"
    robot.show(scene.rgb)
    assert robot.say(f"point at the {scene.objects[0].name}").error_code == GroundedAnswer.OK


def test_a_pause_forgets_the_image_but_not_the_model(node, robot, scene):
    loads = node.text().count("loaded ")
    assert robot.change("deactivate")
    wait_until(
        lambda: robot.camera.get_subscription_count() == 0, ANSWER_S, "end of the subscription"
    )
    assert robot.say("point at the red mug").error_code == GroundedAnswer.NOT_ACTIVE
    assert not robot.change("deactivate")
    assert robot.change("activate")
    assert robot.say("point at the red mug").error_code == GroundedAnswer.NO_IMAGE
    robot.show(scene.rgb)
    assert robot.say(f"point at the {scene.objects[0].name}").error_code == GroundedAnswer.OK
    assert node.text().count("loaded ") == loads


def test_the_client_returns_numpy_and_progress(robot, engine, scene):
    command = f"point at the {scene.objects[0].name}"
    own = engine.open(scene.rgb).ask(command)
    stages = []
    with GroundingClient(robot.node) as client:
        header = robot.show(scene.rgb)
        result = client.ground(command)
        again = client.ground(
            command,
            image=scene.rgb,
            intent="ground",
            on_feedback=lambda stage, *_: stages.append(stage),
        )
    assert (result.is_ok, result.error, result.text) == (True, "OK", own.text)
    assert result.header == header and again.header == Header()
    assert stages[0] == "queued" and stages[-1] == "refine"
    np.testing.assert_array_equal(result.objects[0].mask, own.objects[0].mask)
    assert result.objects[0].score == pytest.approx(own.objects[0].score, abs=1e-5)
    np.testing.assert_array_equal(
        result.labels, conversions.label_image(own.objects, scene.labels.shape)
    )
    np.testing.assert_array_equal(again.labels, result.labels)
    assert result.timings_ms["total"] > result.timings_ms["refine"] > 0


def test_the_client_may_be_called_inside_a_callback_of_a_node_that_spins(robot, scene):
    """The robot's executor has one thread, and this callback holds it."""
    results, is_done = [], threading.Event()
    robot.show(scene.rgb)
    with GroundingClient(robot.node) as client:

        def ask_once() -> None:
            timer.cancel()
            results.append(client.ground("", timeout_s=5.0))
            is_done.set()

        timer = robot.node.create_timer(0.01, ask_once)
        assert is_done.wait(15)
    assert (results[0].is_ok, results[0].error) == (False, "EMPTY_COMMAND")
    assert results[0].objects == () and results[0].labels.shape == (0, 0)


def test_the_client_says_when_there_is_no_node(robot):
    with (
        GroundingClient(robot.node, "nobody") as client,
        pytest.raises(GroundingError, match="serves the action /.*/nobody/ground, found none"),
    ):
        client.ground("hello", wait_for_node_s=0.2)


def run_client(robot, *arguments: str) -> subprocess.CompletedProcess:
    remap = ["--ros-args", "-r", f"__ns:={robot.node.get_namespace()}"]
    return subprocess.run(
        [sys.executable, "-m", "flmm_ros.cli.main", "ask", *arguments, *remap],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=START_S,
    )


def test_the_command_line_prints_answer_objects_and_scores(robot, engine, scene):
    command = f"point at the {scene.objects[0].name}"
    own = engine.open(scene.rgb).ask(command)
    robot.show(scene.rgb)
    done = run_client(robot, command)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == own.text
    assert own.objects[0].phrase in lines[2] and f"{own.objects[0].score:.2f}" in lines[2]
    refused = run_client(robot, "  ", "--quiet")
    assert refused.returncode == ask.REFUSED
    assert refused.stdout.startswith("EMPTY_COMMAND: expected a sentence")


def test_the_command_line_explains_itself(capsys, robot):
    assert main(["ask", "--help"]) == 0
    assert "Exit codes: 0 answered" in capsys.readouterr().out
    assert main(["ask"]) == BAD_INPUT
    assert main(["ask", "hello", "--image", "/no/such.png"]) == BAD_INPUT
    assert "cannot read /no/such.png" in capsys.readouterr().err


def test_clean_up_frees_the_model_and_it_can_be_loaded_again(node, robot, scene):
    loads = node.text().count("loaded ")
    assert robot.change("deactivate") and robot.change("cleanup")
    assert robot.state == "unconfigured"
    assert robot.change("configure") and robot.change("activate")
    assert node.text().count("loaded ") == loads + 1
    robot.show(scene.rgb)
    assert robot.say(f"point at the {scene.objects[0].name}").error_code == GroundedAnswer.OK


def test_shutdown_is_final_but_still_answers(robot):
    assert robot.change("active_shutdown")
    assert robot.state == "finalized"
    msg = robot.say("point at the red mug")
    assert msg.error_code == GroundedAnswer.NOT_ACTIVE
    assert "its state is finalized" in msg.error_text


def test_a_signal_ends_the_process_with_exit_code_zero(node):
    assert node.stop(signal.SIGTERM) == 0
    assert "Traceback" not in node.text()
    assert "never retrieved" not in node.text()


def test_ctrl_c_while_active_ends_it_too(start, scene):
    node, robot = start(autostart=True)
    robot.wait_for_state("active")
    robot.show(scene.rgb)
    assert robot.say(f"point at the {scene.objects[0].name}").error_code == GroundedAnswer.OK
    assert node.stop(signal.SIGINT) == 0
    assert "Traceback" not in node.text()


def test_bad_parameters_at_start_are_named_in_one_line(tmp_path):
    node = NodeProcess("bad", tmp_path / "log.txt", busy="sometimes")
    assert node.process.wait(START_S) == 2
    node.close()
    assert "busy: expected one of queue, preempt, reject, got 'sometimes'" in node.text()
    assert "Traceback" not in node.text()


def test_every_error_code_of_the_message_has_its_name():
    text = (ROOT / "msg" / "GroundedAnswer.msg").read_text()
    constants = [line.split()[1] for line in text.splitlines() if line.startswith("uint16 ")]
    pairs = [c.split("=") for c in constants if "=" in c]
    assert {int(number): name for name, number in pairs} == CODE_NAMES
