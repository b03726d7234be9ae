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

"""Which files `pip install .` takes: our Python and the console's page, configurations, models.

The ROS layer and the generated messages are left to CMakeLists.txt: they need ROS 2 to be built.
`config/` and `models/` stand at the repository's root, for CMake and for people; here they become
folders inside the package. Metadata: pyproject.toml; the version is that of package.xml.
"""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def data_package(folder: str) -> tuple[str, list[str]]:
    """The package name that a folder of data gets, and its files relative to the folder."""
    base = ROOT / folder
    files = [str(f.relative_to(base)) for f in sorted(base.rglob("*")) if f.is_file()]
    return f"flmm_ros.{folder}", files


OURS = (
    "flmm_ros.engine*",
    "flmm_ros.console*",
    "flmm_ros.cli*",
    "flmm_ros.replay*",
    "flmm_ros.report*",
)
DATA = dict(map(data_package, ("config", "models")))

VERSION = ElementTree.parse(ROOT / "package.xml").getroot().findtext("version")

setup(
    version=VERSION,
    packages=[
        *find_packages(include=["flmm_ros", *OURS]),
        *DATA,
    ],
    package_dir={name: name.removeprefix("flmm_ros.") for name in DATA},
    package_data={
        **DATA,
        "flmm_ros.console.web": ["page/*"],
        "flmm_ros.report": ["templates/*"],
        "flmm_ros.replay.pages": ["templates/*"],
    },
)
