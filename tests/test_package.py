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

"""What users and build tools find in the package: launch file, parameter file, metadata."""

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from flmm_ros.engine.config import GrounderConfig

ROOT = Path(__file__).resolve().parents[1]
LAUNCH_FILE = ROOT / "launch" / "grounding.launch.py"


def _calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


ARGUMENTS = {
    "autostart",
    "camera_info_topic",
    "command_topic",
    "console",
    "console_host",
    "console_port",
    "depth_topic",
    "device",
    "image_topic",
    "image_transport",
    "log_level",
    "model",
    "namespace",
    "params_file",
}


def test_every_launch_argument_is_described():
    pytest.importorskip("rclpy", reason="the node's parameters need ROS 2")
    from flmm_ros.ros.interface.launch_arguments import ARGUMENTS as DECLARED
    from flmm_ros.ros.interface.launch_arguments import NAMES
    from flmm_ros.ros.interface.parameters import SETTINGS

    assert {*ARGUMENTS, "use_sim_time", *SETTINGS} == NAMES
    for argument in DECLARED:
        words = argument.doc.split()
        assert len(words) >= 3, f"{argument.name} is not described: {argument.doc!r}"
        assert not argument.choices or argument.default in argument.choices


def test_every_launch_argument_is_used():
    pytest.importorskip("rclpy", reason="the node's parameters need ROS 2")
    from flmm_ros.ros.interface.launch_arguments import NAMES
    from flmm_ros.ros.interface.parameters import SETTINGS

    tree = ast.parse(LAUNCH_FILE.read_text())
    used = {
        ast.literal_eval(c.args[0])
        for c in _calls(tree, "LaunchConfiguration")
        if isinstance(c.args[0], ast.Constant)
    }
    assert used | set(SETTINGS) | {"params_file", "use_sim_time"} == NAMES


def test_launch_arguments_become_parameters_in_their_own_types():
    pytest.importorskip("rclpy", reason="the node's parameters need ROS 2")
    from flmm_ros.ros.interface.launch_arguments import ConfigError, parameters_of

    given = {
        "hold": "on",
        "max_image_age": "5",
        "cameras": "1",
        "depth": "",
        "max_queue": "3",
        "publish_overlay": "false",
        "use_sim_time": "true",
        "autostart": "true",
        "image_topic": "/camera/image_raw",
        "scale_of_another_file": "2",
    }
    with pytest.raises(ConfigError, match="max_queue: expected int, got str 'many'"):
        parameters_of({"max_queue": "many"})
    assert parameters_of(given) == {
        "hold": "on",
        "max_image_age": 5.0,
        "cameras": "1",
        "max_queue": 3,
        "publish_overlay": False,
        "use_sim_time": True,
        "autostart": True,
    }


def test_an_unknown_launch_argument_is_named():
    pytest.importorskip("rclpy", reason="the node's parameters need ROS 2")
    from flmm_ros.ros.interface.launch_arguments import NAMES, unknown_arguments

    given = {"imag_topic": "/x", "robot": "r2", "image_topic": "image"}
    ours = ["ros2", "launch", "flmm_ros", "grounding.launch.py", "imag_topic:=/x", "robot:=r2"]
    misspelt = (
        "launch argument 'imag_topic' is unknown and has no effect; did you mean 'image_topic'?"
    )
    assert unknown_arguments(given, NAMES, "grounding.launch.py", ours) == [
        misspelt,
        "launch argument 'robot' is unknown and has no effect",
    ]
    included = ["ros2", "launch", "my_robot", "robot.launch.py", "robot:=r2"]
    assert unknown_arguments(given, NAMES, "grounding.launch.py", included) == [misspelt]


def test_launch_description_can_be_made():
    pytest.importorskip("launch", reason="the launch system comes with a ROS distribution only")
    pytest.importorskip("launch_ros", reason="the launch system comes with a ROS distribution only")
    names: dict[str, object] = {}
    exec(compile(LAUNCH_FILE.read_text(), LAUNCH_FILE, "exec"), names)
    description = names["generate_launch_description"]()  # type: ignore[operator]
    from flmm_ros.ros.interface.launch_arguments import NAMES

    assert len(description.entities) == len(NAMES) + 3  # the node, its console, unknown names


def _parameter_file() -> dict[str, object]:
    content = yaml.safe_load((ROOT / "config" / "grounding.yaml").read_text())
    assert list(content) == ["/**"], (
        "keyed by a node's name, the file would not hold in a namespace"
    )
    return content["/**"]["ros__parameters"]


def test_parameter_file_states_the_engine_defaults():
    given = _parameter_file()
    for field in fields(GrounderConfig):
        assert given[field.name] == field.default, field.name
        assert type(given[field.name]) is type(field.default), f"ROS would refuse {field.name}"


def test_parameter_file_states_the_node_defaults():
    pytest.importorskip("rclpy", reason="the node's parameters need ROS 2")
    from flmm_ros.ros.interface.parameters import SETTINGS

    given = _parameter_file()
    # autostart belongs to whoever starts the node: a launch file, or a lifecycle manager
    assert set(given) == set(SETTINGS) - {"autostart"}
    for name, value in given.items():
        assert value == SETTINGS[name].default, name
        assert type(value) is type(SETTINGS[name].default), f"ROS would refuse {name}"


APT_NAMES = {
    "PIL": "python3-pil",
    "aiohttp": "python3-aiohttp",
    "cv2": "python3-opencv",
    "jinja2": "python3-jinja2",
    "markupsafe": "python3-jinja2",  # which needs it
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "psutil": "python3-psutil",
    "rich": "python3-rich",
    "scipy": "python3-scipy",
    "tf2_ros": "tf2_ros_py",
    "yaml": "python3-yaml",
}
OPTIONAL = {  # what needs them says so; pyproject.toml has them as extras
    *("lz4", "mcap", "mcap_ros2", "pycocotools", "ray", "rosbags", "zstandard"),  # replay
    *("onnx", "onnxruntime", "onnxscript", "tensorrt", "torch_tensorrt"),
    *("accelerate", "bitsandbytes", "huggingface_hub"),
}


def _imported(files: list[Path]) -> set[str]:
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"flmm_ros", "flmm_sim"}


def test_everything_that_a_robot_imports_is_named():
    """In package.xml (rosdep), in requirements/runtime.txt (pip), or as torch in the README."""
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    named = {e.text for e in manifest if e.tag.endswith("depend")}
    runtime = (ROOT / "requirements" / "runtime.txt").read_text()
    named |= {re.split(r"[<>=! ;]", line)[0] for line in runtime.splitlines() if line[:1] != "#"}
    named |= {"torch"} if "pip install torch" in (ROOT / "README.md").read_text() else set()
    files = [*(ROOT / "flmm_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]
    needed = {APT_NAMES.get(name, name) for name in _imported(files) - OPTIONAL}
    assert needed <= named, f"named nowhere: {sorted(needed - named)}"


def test_the_version_stands_in_package_xml_only():
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    version = next(e.text for e in manifest if e.tag == "version")
    command = [sys.executable, "setup.py", "--version"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.split()[-1] == version
    assert "\nversion" not in (ROOT / "pyproject.toml").read_text()
    assert f"\n{version} (" in (ROOT / "CHANGELOG.rst").read_text()


@pytest.mark.parametrize(
    "name", ["grounding_node", "flmm", "console", "simulated_camera", "simulated_arm"]
)
def test_executables_are_ready_to_install(name):
    program = ROOT / "bin" / name
    assert program.stat().st_mode & 0o111, "not executable"
    # not a fixed interpreter: `ros2 run` must start the one of the active virtual environment
    assert program.read_text().splitlines()[0] == "#!/usr/bin/env python3"
    compile(program.read_text(), program, "exec")


def test_every_python_file_names_its_licence():
    """In the words that ament_copyright looks for."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True)
    files = [ROOT / name for name in listed.stdout.split() if (ROOT / name).is_file()]
    bare = [
        f
        for f in files
        if f.stat().st_size and "Apache License, Version 2.0" not in f.read_text()[:700]
    ]
    assert files and not bare


def test_hand_written_names_leave_room_for_the_generated_ones():
    for reserved in ("msg", "srv", "action"):
        assert not (ROOT / "flmm_ros" / reserved).exists()


def test_the_whole_engine_imports_where_there_is_no_ros():
    code = """
import importlib, pkgutil, sys
for name in ("rclpy", "std_msgs", "sensor_msgs", "ament_index_python", "rosbags", "pybullet"):
    sys.modules[name] = None  # from now on, importing it raises
import flmm_ros.engine
for module in pkgutil.walk_packages(flmm_ros.engine.__path__, "flmm_ros.engine."):
    importlib.import_module(module.name)
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr


@pytest.mark.parametrize("module", ["flmm_ros.engine.lmm.attention", "training.heads.losses"])
@pytest.mark.parametrize(("given", "holds"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_give_their_cores_back(given, holds, module):
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | ({"OMP_WAIT_POLICY": given} if given else {})
    run = subprocess.run(
        [sys.executable, "-c", f"import {module}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    if "OMP_WAIT_POLICY" not in run.stderr:
        pytest.skip("torch's OpenMP does not say how it waits")
    assert f"OMP_WAIT_POLICY = '{holds}'" in run.stderr
