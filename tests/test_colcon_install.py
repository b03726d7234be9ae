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

"""What `colcon build` puts on a robot starts from the installed files alone.

The messages are compiled anew, which takes a minute or more: only in CI (CI=true runs it here).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    *("package.xml", "CMakeLists.txt", "msg", "action", "bin"),
    *("launch", "config", "models", "flmm_ros", "flmm_sim", "requirements"),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not os.environ.get("CI"), reason="compiles the messages: CI=true runs it"),
    pytest.mark.skipif(shutil.which("colcon") is None, reason="colcon is not here"),
]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An install folder of the package as a robot has it, copied and not linked."""
    base = tmp_path_factory.mktemp("workspace")
    source = base / "src" / "flmm_ros"
    source.mkdir(parents=True)
    for name in PARTS:
        whole = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        whole(ROOT / name, source / name)  # a linked folder would be installed as a link
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    colcon = ["colcon", "build", "--base-paths", "src", "--merge-install", "--cmake-args"]
    options = ["-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={sys.executable}"]
    built = subprocess.run(
        [*colcon, *options], cwd=base, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return base / "install"


def _run(prefix: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs an installed executable where only the install folder is sourced."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = f'. {prefix}/local_setup.bash && exec {prefix}/lib/flmm_ros/{program} "$@"'
    return subprocess.run(
        ["bash", "-c", command, "bash", *arguments],
        cwd=prefix,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_robot_gets_what_it_runs_and_nothing_else(prefix):
    programs = sorted(path.name for path in (prefix / "lib" / "flmm_ros").iterdir())
    assert programs == ["console", "flmm", "grounding_node"]
    (package,) = prefix.glob("lib/python3*/site-packages/flmm_ros")
    assert (package / "msg").is_dir() and (package / "engine" / "grounder.py").is_file()
    beside = {path.name for path in package.parent.iterdir()}
    assert not beside & {"flmm_sim", "training", "benchmarks", "examples", "tests"}
    launch_files = {path.name for path in (prefix / "share" / "flmm_ros" / "launch").iterdir()}
    assert launch_files == {"grounding.launch.py", "replay.launch.py"}


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("flmm", ["--help"]),
        *(("flmm", [verb, "--help"]) for verb in ("ground", "ask", "doctor", "replay", "console")),
        ("console", ["--help"]),
    ],
)
def test_programs_explain_themselves(prefix, program, arguments):
    run = _run(prefix, program, *arguments)
    assert run.returncode == 0, run.stderr
    assert "Usage:" in run.stdout


def test_the_installed_engine_finds_its_model(prefix, tmp_path):
    from PIL import Image

    photo = tmp_path / "grey.png"
    Image.new("RGB", (320, 240), (120, 120, 120)).save(photo)
    run = _run(prefix, "flmm", "ground", str(photo), "the red mug", "--out", str(tmp_path))
    assert run.returncode == 0, run.stderr
    assert "the red mug: absent" in run.stdout
