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

"""`from flmm_ros import ...`: what is there, and what importing it does not load."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import flmm_ros
from flmm_ros.engine import errors

ROOT = Path(__file__).resolve().parents[1]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def loaded_after(code: str) -> set[str]:
    child = run(f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})")
    assert child.returncode == 0, child.stderr
    return set(child.stdout.split())


def test_every_public_name_is_there_and_is_listed():
    for name in flmm_ros.__all__:
        assert getattr(flmm_ros, name).__name__ == name
    assert set(flmm_ros.__all__) <= set(dir(flmm_ros))
    assert len(flmm_ros.__all__) == len(set(flmm_ros.__all__))
    from flmm_ros.engine.answer import Answer, Grounding, Intent
    from flmm_ros.engine.chat import Chat
    from flmm_ros.engine.grounder import Grounder
    from flmm_ros.engine.scene import Scene

    names = {"Answer": Answer, "Chat": Chat, "Grounder": Grounder, "Grounding": Grounding}
    for name, kind in {**names, "Intent": Intent, "Scene": Scene}.items():
        assert name in flmm_ros.__all__ and getattr(flmm_ros, name) is kind


def test_every_error_of_the_engine_is_public():
    kinds = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.FlmmError)
    }
    assert kinds <= set(flmm_ros.__all__)
    assert all(getattr(flmm_ros, name) is getattr(errors, name) for name in kinds)


def test_the_package_alone_loads_neither_torch_nor_ros():
    assert not {"torch", "transformers", "numpy", "rclpy"} & loaded_after("import flmm_ros")


def test_errors_and_answers_load_no_torch_and_the_engine_no_ros():
    assert "torch" not in loaded_after("from flmm_ros import FlmmError, Answer, GrounderConfig")
    found = loaded_after("from flmm_ros import Grounder")
    assert "torch" in found and "rclpy" not in found


@pytest.mark.skipif(find_spec("rclpy") is None, reason="needs ROS 2")
def test_the_client_loads_no_torch_and_messages_are_found():
    found = loaded_after("from flmm_ros import GroundingClient, msg\nmsg.GroundedAnswer")
    assert "rclpy" in found and "torch" not in found


def test_without_ros_the_client_says_what_is_missing():
    blocked = "import sys\nsys.modules['rclpy'] = None\n"
    child = run(f"{blocked}from flmm_ros import GroundingClient")
    last = child.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: flmm_ros.GroundingClient: expected ROS 2 with rclpy")
    assert "source your distribution" in last


def test_without_ros_a_star_import_takes_the_engine():
    finder = (
        "import sys\n"
        "import importlib.util\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, *a: None if n == 'rclpy' else found(n, *a)\n"
    )
    child = run(f"{finder}from flmm_ros import *\nprint(Grounder, 'GroundingClient' in dir())")
    assert child.returncode == 0, child.stderr
    assert child.stdout.split()[-1] == "False"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'flmm_ros' has no attribute 'Grunder'"):
        flmm_ros.Grunder  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Grunder'"):
        from flmm_ros import Grunder  # noqa: F401
