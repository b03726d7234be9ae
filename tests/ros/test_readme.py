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

"""The Python of the README runs as it stands: with the real engine, and against a real node."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from harness import ROOT, START_S

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
WITH_ROS = [block for block in BLOCKS if "GroundingClient" in block]
WITHOUT_ROS = [block for block in BLOCKS if "GroundingClient" not in block]
SEED = 2_000_028  # a red mug and other things


def _run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=START_S,
    )


@pytest.fixture
def shown(start, table) -> Iterator[str]:
    """A node that sees a scene at 5 Hz; the name of its namespace."""
    node, robot = start(autostart=True)
    robot.wait_for_state("active")
    rgb = table.render(SEED).rgb
    ended = threading.Event()

    def show() -> None:
        while not ended.wait(0.2):
            robot.show(rgb)

    camera = threading.Thread(target=show)
    camera.start()
    yield node.namespace
    ended.set()
    camera.join()


def test_the_readme_has_programs_of_both_sorts():
    assert len(WITH_ROS) == 2 and len(WITHOUT_ROS) == 1


def test_the_robot_programs_run(shown):
    run = _run("\n".join(WITH_ROS), "--ros-args", "-r", f"__ns:=/{shown}")
    assert run.returncode == 0, run.stderr
    assert "red mug" in run.stdout


def test_the_program_without_ros_runs(table, tmp_path):
    path = tmp_path / "image.npy"
    np.save(path, table.render(SEED).rgb)
    code = f"import numpy as np\nimage = np.load({str(path)!r})\n{WITHOUT_ROS[0]}"
    run = _run(code + "\nprint([g.is_present for g in scene.ground(['the red mug'])], chat)")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("[")
