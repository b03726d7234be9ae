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

"""What the set-up needs from the operating system, and the command that installs it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Missing:
    """Something that is not there, and the Debian or Ubuntu package that brings it."""

    what: str
    package: str


def missing_from_system(*, has_distro: bool) -> list[Missing]:
    """Everything that is missing at once, so that one command is enough."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    prefix = f"python{version}"
    missing = []
    if not any(
        shutil.which(name) for name in (os.environ.get("CXX", "c++").split()[0], "g++", "clang++")
    ):
        missing.append(Missing("a C++ compiler", "g++"))
    if not any(
        shutil.which(name) for name in (os.environ.get("CC", "cc").split()[0], "gcc", "clang")
    ):
        missing.append(Missing("a C compiler", "gcc"))
    for tool in ("cmake", "make"):
        if not shutil.which(tool):
            missing.append(Missing(tool, tool))
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        missing.append(
            Missing(f"the headers of {sys.executable} (Python {version})", f"{prefix}-dev")
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        missing.append(Missing("Python's venv module", f"{prefix}-venv"))
    if has_distro and not shutil.which("colcon"):
        missing.append(Missing("colcon", "python3-colcon-common-extensions"))
    return missing


def sentence(missing: list[Missing]) -> str:
    """One line: what is missing and what to type."""
    names = ", ".join(item.what for item in missing)
    packages = " ".join(item.package for item in missing)
    what_to_do = f"sudo apt-get install -y {packages}"
    return f"set-up: missing from this system: {names}; install with: {what_to_do}"
