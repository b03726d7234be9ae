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

"""The console without a browser. What needs rclpy is left out where there is none, and says so.

Tests with a browser and the real node: tests/ros/test_console.py.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

HAS_ROS = find_spec("rclpy") is not None
HAS_SERVER = find_spec("aiohttp") is not None
collect_ignore_glob = [] if HAS_ROS and HAS_SERVER else ["test_*.py"]


def pytest_report_header() -> str:
    """One line at the top of the test report."""
    if not HAS_ROS:
        return "tests/console: SKIPPED, no rclpy here"
    return "tests/console: here" if HAS_SERVER else "tests/console: SKIPPED, no aiohttp here"


@pytest.fixture
def context() -> Iterator[Any]:
    """An rclpy context of the test's own."""
    import rclpy

    made = rclpy.Context()
    made.init()
    yield made
    made.try_shutdown()


class Clock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()
