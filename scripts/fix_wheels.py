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

"""Repairs the CMake files of the ROS 2 wheels: they name the Python of the machine that built them.

Each message package exports the include folders of its builder's Python and NumPy
(`/opt/python/cp311-cp311/...`), and CMake refuses include folders that do not exist. The right ones
are written in their place.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BUILDER_PATH = re.compile(
    r'/opt/python/[^/;"]+/(?:include/python[\d.]+|lib/[^;"]*/numpy/_core/include)'
)
QUESTION = (
    "import numpy, sysconfig; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
)


def repair(venv: Path) -> int:
    """Rewrites the files below `venv`/share that need it and returns how many did."""
    answer = subprocess.run(
        [venv / "bin" / "python", "-c", QUESTION], capture_output=True, text=True, check=True
    )
    python_include, numpy_include = answer.stdout.split("\n")[:2]
    count = 0
    for file in (venv / "share").rglob("*rosidl_generator_pyExport.cmake"):
        text = file.read_text()
        fixed = BUILDER_PATH.sub(
            lambda m: numpy_include if "numpy" in m[0] else python_include, text
        )
        if fixed != text:
            file.write_text(fixed)
            count += 1
    return count


if __name__ == "__main__":
    print(f"{repair(Path(sys.argv[1]))} files repaired")
