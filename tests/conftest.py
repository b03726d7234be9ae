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

"""For every test: how threads wait, a ROS domain of its own, and the simulated tabletop.

Tests that run nodes need rclpy; without it they are left out, and the report says so.
"""

import os
import random
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

import flmm_ros  # noqa: F401  sets how OpenMP threads wait, which torch reads when it is loaded

if TYPE_CHECKING:
    from flmm_sim.tabletop.tabletop import Tabletop

HAS_ROS = find_spec("rclpy") is not None
_NEED_ROS = (
    "examples/test_demo.py",
    "examples/test_grasp_ros.py",
    "replay/test_replay_online.py",
    "sim/test_simulated_camera.py",
)
collect_ignore = [] if HAS_ROS else list(_NEED_ROS)

# Before anything of ROS is imported. `make test` sets a free domain.
os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


def pytest_report_header() -> str:
    """One line at the top of the test report."""
    return "nodes: real ones over DDS" if HAS_ROS else "nodes: SKIPPED, no rclpy here"


@pytest.fixture(scope="session")
def world() -> Iterator["Tabletop"]:
    """The simulator of this process."""
    from flmm_sim.tabletop.tabletop import Tabletop

    with Tabletop() as table:
        yield table
