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

"""Whether everything that the node needs is installed, and the one command for each thing missing.

Nothing heavy is imported: a package counts as installed where Python finds it. The advice never
touches what a distribution installed: system packages come from rosdep or apt, everything else goes
into a virtual environment that sees the system's packages (PEP 668).
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from flmm_ros.report.machine import package_version

DISTRIBUTIONS = ("humble", "jazzy", "kilted", "lyrical", "rolling")
RUNTIME_LIST = '"$(ros2 pkg prefix --share flmm_ros)/requirements/runtime.txt"'
VENV = "~/flmm_venv"


@dataclass(frozen=True)
class Requirement:
    """Something the node, or one of the verbs of `flmm`, imports.

    module: as Python imports it. distribution: as pip calls it, for its version. at_least: the
    lowest version that works. debian, ros: the package that brings it; empty where none does. An
    optional one is only needed for what `used_for` says.
    """

    module: str
    used_for: str
    distribution: str = ""
    at_least: tuple[int, ...] = ()
    debian: str = ""
    ros: str = ""
    is_optional: bool = False


REQUIREMENTS = (
    Requirement("rclpy", "the node", ros="rclpy"),
    Requirement("flmm_ros.msg", "the node's messages"),
    Requirement("sensor_msgs", "images", ros="sensor_msgs"),
    Requirement("cv_bridge", "decoding images", ros="cv_bridge", is_optional=True),
    Requirement("tf2_ros", "targets in another frame", ros="tf2_ros_py", is_optional=True),
    Requirement("vision_msgs", "~/vision topics", ros="vision_msgs", is_optional=True),
    Requirement("bondpy", "Nav2's lifecycle manager", ros="bondpy", is_optional=True),
    Requirement("rosbag2_py", "flmm record", ros="rosbag2_py", is_optional=True),
    Requirement("numpy", "everything", "numpy", (1, 26), debian="python3-numpy"),
    Requirement("cv2", "decoding images", debian="python3-opencv"),
    Requirement("PIL", "pictures", "pillow", (9,), debian="python3-pil"),
    Requirement("scipy", "targets", "scipy", (1, 8), debian="python3-scipy"),
    Requirement("yaml", "model files", "pyyaml", (5, 4), debian="python3-yaml"),
    Requirement("psutil", "the memory check", "psutil", (5, 9), debian="python3-psutil"),
    Requirement("torch", "the model", "torch", (2, 4)),
    Requirement("transformers", "the model", "transformers", (5, 19)),
    Requirement("safetensors", "weights", "safetensors", (0, 4, 3)),
    Requirement("typer", "the command flmm", "typer", (0, 9)),
    Requirement("rich", "tables", "rich", (11,), debian="python3-rich", is_optional=True),
    Requirement("aiohttp", "flmm console", "aiohttp", (3, 8), "python3-aiohttp", is_optional=True),
    Requirement("jinja2", "flmm replay", "jinja2", (3,), "python3-jinja2", is_optional=True),
    Requirement(
        "matplotlib", "flmm replay", "matplotlib", (3, 5), "python3-matplotlib", is_optional=True
    ),
    Requirement("rosbags", "flmm replay", "rosbags", (0, 10), is_optional=True),
    Requirement("mcap", "damaged recordings", "mcap", (1, 2), is_optional=True),
    Requirement("pycocotools", "masks in recordings", "pycocotools", (2, 0, 7), is_optional=True),
    Requirement("onnxruntime", "refiner_backend: onnx", "onnxruntime", (1, 20), is_optional=True),
)


@dataclass(frozen=True)
class Environment:
    """Where packages would go. distro: the sourced ROS distribution, or empty. has_torch_gpu: an
    NVIDIA GPU is here; is_jetson: one that needs NVIDIA's own build of torch."""

    distro: str
    is_venv: bool
    is_externally_managed: bool
    has_gpu: bool
    is_jetson: bool

    @property
    def needs_venv(self) -> bool:
        """pip would refuse to install, or would install over the distribution's packages."""
        return not self.is_venv and (self.is_externally_managed or bool(self.distro))


@dataclass(frozen=True)
class Check:
    """One line of the report. command: what to run where `is_fine` is False."""

    name: str
    is_fine: bool
    text: str
    command: str = ""
    is_optional: bool = False


def this_environment() -> Environment:
    """As this process sees it."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    return Environment(
        distro=os.environ.get("ROS_DISTRO", ""),
        is_venv=sys.prefix != sys.base_prefix,
        is_externally_managed=(stdlib / "EXTERNALLY-MANAGED").is_file(),
        has_gpu=Path("/proc/driver/nvidia/version").is_file(),
        is_jetson=Path("/etc/nv_tegra_release").is_file(),
    )


def check_install(
    environment: Environment,
    requirements: Iterable[Requirement] = REQUIREMENTS,
    find: Callable[[str], bool] | None = None,
    version_of: Callable[[str], str] | None = None,
) -> list[Check]:
    """Every requirement, then what one package may do to another.

    find, version_of: for tests; by default this process's packages.
    """
    find, version_of = find or is_here, version_of or installed_version
    checks = [_check(r, environment, find, version_of) for r in requirements]
    return checks + shadowing_checks(environment)


def _check(
    requirement: Requirement,
    environment: Environment,
    find: Callable[[str], bool],
    version_of: Callable[[str], str],
) -> Check:
    name, optional = requirement.module, requirement.is_optional
    if not find(requirement.module):
        text = f"missing; needed for {requirement.used_for}"
        return Check(name, False, text, command_for(requirement, environment), optional)
    version = version_of(requirement.distribution) if requirement.distribution else ""
    if version and _numbers(version) < requirement.at_least:
        least = ".".join(map(str, requirement.at_least))
        text = f"{version} is too old for {requirement.used_for}: expected {least} or newer"
        return Check(name, False, text, command_for(requirement, environment), optional)
    return Check(name, True, version or "installed", is_optional=optional)


def advice_for(module: str | None) -> str:
    """One line for a program that cannot import something; empty where it is none of ours."""
    for requirement in REQUIREMENTS:
        if module is not None and module.split(".")[0] == requirement.module.split(".")[0]:
            command = command_for(requirement, this_environment())
            return (
                f"the Python package {requirement.module!r} is missing; install it with: {command}"
            )
    return ""


def command_for(requirement: Requirement, environment: Environment) -> str:
    """The one command that brings a missing requirement, without harm to the system's packages."""
    if requirement.module == "flmm_ros.msg":
        return "colcon build --packages-select flmm_ros && . install/setup.bash"
    if requirement.ros:
        if environment.distro not in DISTRIBUTIONS:
            return "source a ROS 2 distribution first: . /opt/ros/jazzy/setup.bash"
        package = requirement.ros.replace("_", "-")
        return f"sudo apt-get install -y ros-{environment.distro}-{package}"
    if requirement.debian and environment.distro:
        return f"sudo apt-get install -y {requirement.debian}"
    if environment.needs_venv:
        return f"python3 -m venv --system-site-packages {VENV} && . {VENV}/bin/activate"
    if requirement.module == "torch":
        return torch_command(environment)
    if environment.distro and not requirement.is_optional:
        return f"python3 -m pip install -r {RUNTIME_LIST}"
    least = ".".join(map(str, requirement.at_least))
    name = requirement.distribution or "opencv-python-headless"
    return (
        f'python3 -m pip install "{name}>={least}"' if least else f"python3 -m pip install {name}"
    )


def torch_command(environment: Environment) -> str:
    """The build of torch for this machine."""
    if environment.is_jetson:
        return "install the torch wheel that NVIDIA publishes for this JetPack"
    if environment.has_gpu:
        return "python3 -m pip install torch"
    return "python3 -m pip install torch --index-url https://download.pytorch.org/whl/cpu"


def shadowing_checks(environment: Environment) -> list[Check]:
    """Packages from pip that hide the distribution's, for which its binaries were built."""
    if not environment.distro:
        return []
    checks = []
    for module, debian in (("numpy", "python3-numpy"), ("cv2", "python3-opencv")):
        own, system = _place_of(module), _system_place_of(module)
        if own is None or system is None or own == system:
            continue
        majors = _major_in(own.parent, module), _major_in(system.parent, module)
        if module == "numpy" and majors[0] == majors[1]:
            continue  # the same binary interface
        text = (
            f"{own} hides the one of {debian}, which the distribution's binaries were built with; "
            "cv_bridge may crash"
        )
        name = "numpy" if module == "numpy" else "opencv-python opencv-python-headless"
        checks.append(Check(module, False, text, f"python3 -m pip uninstall -y {name}"))
    return checks


def is_here(module: str) -> bool:
    """Whether Python would find a module."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def installed_version(distribution: str) -> str:
    """The version that pip or apt recorded; empty where nobody did."""
    return package_version(distribution, absent="")


def _numbers(version: str) -> tuple[int, ...]:
    """ "2.13.0+cpu" -> (2, 13, 0)."""
    plain = version.partition("+")[0].split(".")
    return tuple(int(part) for part in plain if part.isdecimal())


def _place_of(module: str) -> Path | None:
    spec = find_spec(module)
    return Path(spec.origin).parent if spec and spec.origin else None


def _system_place_of(module: str) -> Path | None:
    """Where apt puts it; None where it did not."""
    for folder in (Path("/usr/lib/python3/dist-packages"),):
        if (folder / module).is_dir():
            return folder / module
        if list(folder.glob(f"{module}*.so")):
            return folder
    return None


def _major_in(folder: Path, distribution: str) -> str:
    """The major version that the metadata beside a package says."""
    for found in metadata.distributions(path=[str(folder)]):
        if found.name.lower() == distribution:
            return found.version.partition(".")[0]
    return ""
