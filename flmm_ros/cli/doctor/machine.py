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

"""The machine: system, memory, GPUs, and the versions of the packages that matter."""

from __future__ import annotations

import os
import platform

import psutil
import torch

from flmm_ros.cli.doctor.install import installed_version
from flmm_ros.engine.runtime.memory import GIB

PACKAGES = ("torch", "transformers", "onnxruntime", "onnxruntime-gpu", "tensorrt", "bitsandbytes")


def machine_facts() -> dict[str, str]:
    """System, Python, processor, memory, and each GPU."""
    memory = psutil.virtual_memory()
    facts = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "CPU": f"{os.cpu_count()} threads",
        "memory": f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} free",
    }
    for n in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(n)
        major, minor = torch.cuda.get_device_capability(n)
        facts[f"cuda:{n}"] = (
            f"{torch.cuda.get_device_name(n)}, capability {major}.{minor}, "
            f"{total / GIB:.1f} GiB, {free / GIB:.1f} free"
        )
    return facts


def package_versions() -> dict[str, str]:
    """Version by package; empty where it is not installed."""
    return {name: installed_version(name) for name in PACKAGES}


def onnx_providers() -> tuple[str, ...]:
    """What ONNX Runtime can compute with; none where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return ()
    return tuple(onnxruntime.get_available_providers())
