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

"""SIGINT and SIGTERM in every moment of the life of the node: exit code 0 within seconds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import ANSWER_S, PATIENCE, ROOT, wait_until

END_S = 5.0 * PATIENCE
LOAD_S = 40.0  # nothing interrupts it
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def end(process, number, log, times=1):
    """Sends the signal so many times; the exit code, and how long it took."""
    start_s = time.monotonic()
    for _ in range(times):
        process.send_signal(number)
        time.sleep(0.05 if times > 1 else 0.0)
    code = process.wait(30)
    took_s = time.monotonic() - start_s
    text = log.read_text()
    assert (code, took_s < END_S) == (0, True), f"{code} after {took_s:.1f} s: {text[-2000:]}"
    assert "Traceback" not in text
    return took_s


@pytest.fixture
def executable(tmp_path):
    """The installed program itself: its first seconds are imports."""
    log = tmp_path / "log.txt"
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "bin" / "grounding_node"),
            "--ros-args",
            "-r",
            "__ns:=/signals",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=log.open("w"),
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    yield process, log
    process.kill()
    process.wait()


def is_importing_torch(process):
    """Its libraries are being mapped: Python runs, the node does not yet."""
    return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("number", SIGNALS)
def test_while_packages_load(executable, number):
    process, log = executable
    wait_until(lambda: is_importing_torch(process), ANSWER_S, "the import of torch")
    end(process, number, log)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("times", [1, 3])
def test_while_a_model_loads(start, monkeypatch, number, times):
    monkeypatch.setenv("SLOW_LOAD_S", str(LOAD_S))
    node, robot = start(script="slow_node.py", autostart=True)
    robot.wait_for_state("configuring")
    end(node.process, number, node.log, times)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_answers_and_others_wait(start, table, number):
    node, robot = start(script="slow_node.py", autostart=True)
    robot.wait_for_state("active")
    scene = table.render(1_000_003)
    robot.show(scene.rgb)
    goals = [robot.send("what can I drink from?") for _ in range(3)]
    goals[0].wait_for_stage("generate")
    end(node.process, number, node.log)
    assert {goal.result().error_code for goal in goals} == {20}  # each has heard: NOT_ACTIVE


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_holds_and_twice(start, table, number):
    node, robot = start(script="slow_node.py", autostart=True, hold="on", hold_period=0.2)
    robot.wait_for_state("active")
    scene = table.render(1_000_003)
    robot.show(scene.rgb)
    assert robot.say(f"quickly: point at the {scene.objects[0].name}").error_code == 0
    for _ in range(5):
        robot.show(scene.rgb)
    end(node.process, number, node.log, times=2)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_it_shuts_down(start, number):
    """Launch sends SIGINT to every process and the terminal to the group: again and again."""
    node, robot = start()
    robot.wait_for_state("unconfigured")
    end(node.process, number, node.log, times=12)
