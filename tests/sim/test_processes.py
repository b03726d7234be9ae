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

"""Children end when they should, however unwilling they are."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flmm_sim import processes
from flmm_sim.processes import ChildProcess


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module for the child to run; a test writes it."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return tmp_path / "child_under_test.py"


def started(module: Path, text: str) -> ChildProcess:
    module.write_text(text)
    return ChildProcess("child", module.stem, ["-x"], module.parent / "logs" / "child.log")


def wait_for(child: ChildProcess, words: str) -> None:
    end_s = time.monotonic() + 20
    while words not in child.log.read_text():
        assert time.monotonic() < end_s, child.tail_of(child.log)
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended but that nobody has waited for is still listed.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_it_runs_and_is_stopped_politely(module: Path) -> None:
    text = """
import sys, time
print(sys.argv[1:], flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("asked to end", flush=True)
    sys.exit(7)
"""
    with started(module, text) as child:
        wait_for(child, "['-x']")
        child.check()
        assert child.is_running
        assert child.stop() == 7
    assert "asked to end" in child.log.read_text()


def test_an_unwilling_one_and_its_own_children_are_killed(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.3)
    text = """
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
grandchild = subprocess.Popen(["sleep", "60"])
print("pid", grandchild.pid, "ready", flush=True)
time.sleep(60)
"""
    with pytest.raises(ZeroDivisionError), started(module, text) as child:
        wait_for(child, "ready")
        raise ZeroDivisionError
    assert not child.is_running
    pid = int(child.log.read_text().split()[1])
    end_s = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < end_s, "the grandchild lives on"
        time.sleep(0.05)


def test_one_that_fails_is_noticed_and_its_log_shown(module: Path) -> None:
    with started(module, "print('line\\n' * 100)\nraise SystemExit('no model')") as child:
        end_s = time.monotonic() + 20
        while child.is_running:
            assert time.monotonic() < end_s
            time.sleep(0.05)
        with pytest.raises(RuntimeError, match=r"child: expected a running process.*code 1"):
            child.check()
    tail = ChildProcess.tail_of(child.log).splitlines()
    assert len(tail) == processes.TAIL_LINES + 1 and "no model" in tail


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    assert "(nothing written)" in ChildProcess.tail_of(tmp_path / "none.log")


def test_told_to_end_while_it_starts_one_it_leaves_none_behind(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)
            pids.append(self.pid)
            signal.raise_signal(signal.SIGTERM)  # before anybody knows of the process

    monkeypatch.setattr(processes.subprocess, "Popen", Popen)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with pytest.raises(SystemExit, match="143"):
            started(module, "import time; time.sleep(60)").__enter__()
        assert signal.getsignal(signal.SIGTERM).__name__ == "<lambda>"
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(pids) == 1
    assert not Path(f"/proc/{pids[0]}").exists() or not is_alive(pids[0])
