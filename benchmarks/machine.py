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

"""On what, and with what, a benchmark was run: for its JSON."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from flmm_ros.report.machine import commit_of, package_version, processor_name

ROOT = Path(__file__).resolve().parents[1]


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, device, versions of Python and of the packages that matter, commit."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "device": _device_name(device),
        "python": platform.python_version(),
        "torch": package_version("torch"),
        "transformers": package_version("transformers"),
        "commit": commit_of(ROOT),
    }


def _device_name(device: str) -> str:
    if not device.startswith("cuda"):
        return "cpu"
    import torch

    return str(torch.cuda.get_device_name())
