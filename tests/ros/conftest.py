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

"""Without rclpy there is nothing to test here, and the report says so.

One domain for the whole run, one namespace for each node process, one engine in this process to
compare with. Both sides use one CPU thread, so that the same numbers come out bit by bit.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

HAS_ROS = find_spec("rclpy") is not None
collect_ignore_glob = [] if HAS_ROS else ["test_*.py"]

if TYPE_CHECKING:
    from harness import NodeProcess, Robot

    from flmm_ros.engine.grounder import Grounder
    from flmm_sim.tabletop.tabletop import Tabletop


@pytest.fixture(scope="session")
def _rclpy() -> Iterator[None]:
    import rclpy

    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture(scope="module")
def start(
    _rclpy: None, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[..., "tuple[NodeProcess, Robot]"]]:
    """Starts a node process and the robot that talks to it; ends both with the module."""
    from harness import MODEL, NodeProcess, Robot

    opened: list[Any] = []

    def _start(**parameters: Any) -> "tuple[NodeProcess, Robot]":
        namespace = f"{request.module.__name__.rpartition('.')[2]}_{len(opened)}"
        log = tmp_path_factory.mktemp(namespace) / "log.txt"
        node = NodeProcess(namespace, log, **{"model": MODEL, "threads": 1, **parameters})
        robot = Robot(namespace)
        opened.extend((robot, node))
        return node, robot

    yield _start
    for closeable in opened:
        closeable.close()


@pytest.fixture(scope="session")
def engine() -> Iterator["Grounder"]:
    """The engine itself, to compare the node with."""
    from harness import MODEL

    from flmm_ros.engine.config import GrounderConfig
    from flmm_ros.engine.grounder import Grounder

    grounder = Grounder.from_config(GrounderConfig(model=MODEL, threads=1))
    yield grounder
    grounder.close()


@pytest.fixture(scope="session")
def table() -> Iterator["Tabletop"]:
    """The simulator, for images and the truth about them."""
    from flmm_sim.tabletop.tabletop import Tabletop

    with Tabletop() as world:
        yield world
