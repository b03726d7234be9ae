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

"""Workers that die take nothing with them: every task is done once, by another if need be."""

import functools
import os
import threading
import time
from pathlib import Path

import pytest

from flmm_ros.engine.errors import ConfigError
from flmm_ros.replay.runs.local_pool import LocalPool
from flmm_ros.replay.runs.ray_pool import RayPool
from flmm_ros.replay.runs.worker_pool import FinishedTask, RecordingTask

pytestmark = pytest.mark.timeout(600)  # seconds of work, but the machine may be busy


class Mortal:
    """Writes what it did; dies at once at a task called "dies", only the first time at "faint"."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def do(self, task: RecordingTask) -> str:
        marker = self._folder / f"{task.name}.tried"
        is_first = not marker.exists()
        marker.touch()
        if task.name == "dies" or (task.name == "faint" and is_first):
            os._exit(9)
        (self._folder / f"{task.name}.done").touch()
        return "cannot be read" if task.name == "wrong" else ""


NAMES = ("a", "faint", "b", "dies", "wrong", "c")
TASKS = [RecordingTask(name, "", "", "") for name in NAMES]


def check(finished: list[FinishedTask], folder: Path) -> None:
    errors = {f.task.name: f.error for f in finished}
    assert len(finished) == len(TASKS) and set(errors) == set(NAMES)
    assert errors["dies"].startswith("2 workers ended while they were at it")
    assert errors["wrong"] == "cannot be read"
    assert [errors[name] for name in ("a", "b", "c", "faint")] == [""] * 4
    done = {p.stem for p in folder.glob("*.done")}
    assert done == {"a", "b", "c", "faint", "wrong"}


@pytest.mark.parametrize("workers", [1, 2])
def test_processes(tmp_path, workers):
    pool = LocalPool(workers, functools.partial(Mortal, tmp_path))
    check(list(pool.run(TASKS)), tmp_path)


@pytest.mark.slow
def test_a_local_ray(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    here = Path(__file__).parent  # where its workers find this module
    monkeypatch.setenv("PYTHONPATH", f"{here}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    pool = RayPool("local", 2, functools.partial(Mortal, tmp_path))
    check(list(pool.run(TASKS)), tmp_path)


def test_no_ray_at_that_address():
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="expected a Ray cluster at 'auto'"):
        list(RayPool("auto", 1, functools.partial(Mortal, Path())).run(TASKS))


def test_nothing_to_do_starts_nothing():
    assert list(RayPool("nowhere", 1, dict).run([])) == []
    assert list(LocalPool(2, dict).run([])) == []


class DiesWhenIdle:
    """Does its first task, and is gone a moment later; where a file says so, it stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def do(self, task: RecordingTask) -> str:
        (self._folder / f"{task.name}.done").touch()
        if task.name == "first":
            threading.Timer(0.3, os._exit, (9,)).start()
        return ""


def test_a_worker_that_dies_while_idle_costs_its_task_a_retry_and_not_the_run(tmp_path):
    """The only worker has ended its task and dies; the next task is handed to a dead process."""
    pool = LocalPool(1, functools.partial(DiesWhenIdle, tmp_path))
    finished = []
    for each in pool.run(
        [RecordingTask(name, "", "", "") for name in ("first", "second", "third")]
    ):
        finished.append((each.task.name, each.error))
        if each.task.name == "first":
            time.sleep(1.5)  # it is idle meanwhile, and dies
    assert sorted(finished) == [("first", ""), ("second", ""), ("third", "")]
    assert {p.stem for p in tmp_path.glob("*.done")} == {"first", "second", "third"}


def test_a_task_that_ends_its_workers_says_how(tmp_path):
    pool = LocalPool(1, functools.partial(Mortal, tmp_path))
    (only,) = pool.run([RecordingTask("dies", "", "", "")])
    assert only.error == "2 workers ended while they were at it: exit code 9"
