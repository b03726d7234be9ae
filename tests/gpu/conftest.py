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

"""Tests of the GPU; without one each is skipped and says so.

`scripts/gpu_checks.sh` runs them. FLMM_GPU_TESTS_DEVICE=cpu runs on a CPU what a CPU can stand in
for, so that the tests themselves are tried without a GPU; those marked `cuda` stay skipped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gpu_scenes import DEVICE, Photo, load_photos

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "engine"))  # the tiny models


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what this machine cannot run."""
    for item in items:
        if HERE in item.path.parents and (reason := _why_not(item)):
            item.add_marker(pytest.mark.skip(reason=reason))


def _why_not(item: pytest.Item) -> str:
    if DEVICE == "cpu":
        is_cuda = item.get_closest_marker("cuda") is not None
        return "a CPU cannot stand in for the GPU here" if is_cuda else ""
    if torch.cuda.is_available():
        return ""
    return (
        "NOT RUN, no GPU: torch.cuda.is_available() is false; run scripts/gpu_checks.sh on a "
        "machine with one"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded, so that a log holds the numbers and not only the verdict."""
    reports = [r for name in ("passed", "failed") for r in terminalreporter.stats.get(name, [])]
    measured = [(r.nodeid, *found) for r in reports for found in r.user_properties]
    if measured:
        terminalreporter.section(f"measured on {DEVICE}")
    for test, name, value in measured:
        terminalreporter.write_line(f"{test.rpartition('/')[2]}: {name} = {value}")


@pytest.fixture(scope="session")
def device() -> str:
    """What is compared with the CPU."""
    return DEVICE


@pytest.fixture(autouse=True)
def in_full_float32() -> Iterator[None]:
    """float32 as on a CPU: convolutions round to TF32 by default, and then nothing is equal."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture(scope="session")
def photos() -> list[Photo]:
    """Simulated scenes with their truth."""
    return load_photos()


@pytest.fixture(scope="session")
def on_cpu() -> Grounder:
    """The embedded model as every other test knows it."""
    return Grounder.from_config(GrounderConfig("tabletop", device="cpu"))


@pytest.fixture(scope="session")
def on_device(device: str) -> Grounder:
    """The same on the GPU, in the same number format."""
    return Grounder.from_config(GrounderConfig("tabletop", device=device, dtype="float32"))
