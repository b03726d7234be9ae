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

"""`flmm doctor --install`: what is missing is named with one command that harms no distribution."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from flmm_ros.cli.doctor import install
from flmm_ros.cli.doctor.install import REQUIREMENTS, Environment, check_install, command_for

JAZZY = Environment(
    "jazzy", is_venv=False, is_externally_managed=True, has_gpu=False, is_jetson=False
)
JAZZY_VENV = dataclasses.replace(JAZZY, is_venv=True)
NO_ROS = Environment("", is_venv=True, is_externally_managed=False, has_gpu=False, is_jetson=False)
BY_MODULE = {requirement.module: requirement for requirement in REQUIREMENTS}
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("module", "environment", "command"),
    [
        ("cv_bridge", JAZZY, "sudo apt-get install -y ros-jazzy-cv-bridge"),
        ("cv2", JAZZY, "sudo apt-get install -y python3-opencv"),
        ("numpy", JAZZY_VENV, "sudo apt-get install -y python3-numpy"),
        (
            "torch",
            JAZZY,
            "python3 -m venv --system-site-packages ~/flmm_venv && . ~/flmm_venv/bin/activate",
        ),
        ("transformers", JAZZY_VENV, f"python3 -m pip install -r {install.RUNTIME_LIST}"),
        (
            "torch",
            JAZZY_VENV,
            "python3 -m pip install torch --index-url https://download.pytorch.org/whl/cpu",
        ),
        ("torch", dataclasses.replace(JAZZY_VENV, has_gpu=True), "python3 -m pip install torch"),
        ("cv2", NO_ROS, "python3 -m pip install opencv-python-headless"),
        ("aiohttp", NO_ROS, 'python3 -m pip install "aiohttp>=3.8"'),
        ("rclpy", NO_ROS, "source a ROS 2 distribution first: . /opt/ros/jazzy/setup.bash"),
    ],
)
def test_each_thing_missing_has_one_command(module, environment, command):
    assert command_for(BY_MODULE[module], environment) == command


def test_pip_is_never_advised_outside_an_environment_of_a_distribution():
    for requirement in REQUIREMENTS:
        assert "pip install" not in command_for(requirement, JAZZY), requirement
        # what apt has must not be put over it from elsewhere
        if requirement.debian or requirement.ros:
            assert "pip" not in command_for(requirement, JAZZY_VENV), requirement


@pytest.mark.parametrize("verb", [["ask", "the mug"], ["console"]])
def test_a_verb_without_its_package_says_what_to_do(verb):
    code = f"""
import sys
sys.modules["rclpy"] = None
from flmm_ros.cli.main import main
sys.exit(main({verb!r}))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith("flmm: the Python package 'rclpy' is missing; install it with: ")
    assert run.stderr.count("\n") == 1


def test_missing_old_and_present_packages():
    def find(module: str) -> bool:
        return module != "torch"

    versions = {"transformers": "4.57.1", "numpy": "1.26.4", "typer": "0.9.0"}
    checks = check_install(JAZZY_VENV, REQUIREMENTS, find, lambda name: versions.get(name, ""))
    by_name = {check.name: check for check in checks[: len(REQUIREMENTS)]}
    assert not by_name["torch"].is_fine and "needed for the model" in by_name["torch"].text
    old = by_name["transformers"]
    assert old.text == "4.57.1 is too old for the model: expected 5.19 or newer"
    assert by_name["numpy"].is_fine and by_name["typer"].is_fine


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.13.0+cpu", (2, 13, 0)), ("5.23.0", (5, 23, 0)), ("1.26", (1, 26))]
)
def test_versions_are_read_as_numbers(version, numbers):
    assert install._numbers(version) == numbers


def test_it_runs_where_nothing_heavy_is_installed():
    code = """
import sys
for name in ("torch", "transformers", "rclpy", "numpy", "cv2", "PIL", "psutil", "yaml", "rich"):
    sys.modules[name] = None  # from now on, importing it raises
from flmm_ros.cli.main import main
sys.exit(main(["doctor", "--install", "--json"]))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    checks = {check["name"]: check for check in json.loads(run.stdout)}
    assert not checks["torch"]["is_fine"] and checks["torch"]["command"]
