"""The tools' tests. Those that run nodes need rclpy; the others do not."""

import os
import random
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from flmm_ros.tools.tabletop import Tabletop

collect_ignore = (
    []
    if find_spec("rclpy") is not None
    else [
        "test_simulated_camera.py",
        "test_demo.py",
        "test_grasp_ros.py",
        "test_robot_operator.py",
        "test_replay_online.py",
    ]
)

# Before anything of ROS is imported. `make test` sets a free domain.
os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.fixture(scope="session")
def world() -> Iterator[Tabletop]:
    """The simulator of this process."""
    with Tabletop() as table:
        yield table
