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

"""A node and the thread that spins it, for programs that do other things meanwhile."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

_STEP_S = 0.1  # ending `spin` from another thread takes rclpy seconds; steps end at once
_PAUSE_S = 0.01  # after a fault, so that one that comes again and again leaves the CPU alone


class NodeThread:
    """Spins one node on a thread of its own, from `start` to `close`. A context manager.

    Whatever a callback raises is logged with its traceback, also SystemExit, and the thread goes
    on: a fault in one callback must not silence all others.

    Args:
        node: spun here and nowhere else; its owner destroys it after `close`.
        each_step: called on the thread after every callback and at least ten times a second.
    """

    def __init__(self, node: Node, each_step: Callable[[], None] = lambda: None) -> None:
        self._node, self._each_step = node, each_step
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._spin, name=node.get_name(), daemon=True)

    def __enter__(self) -> NodeThread:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begins to spin."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """It spins. False once it was closed, or ROS was shut down."""
        return self._thread.is_alive()

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Has something called on the thread, soon."""
        self._executor.create_task(function, *arguments)

    def close(self) -> None:
        """Ends the thread; waits for the callback that runs, unless it is that which calls."""
        self._is_closed.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()
        self._executor.shutdown()

    def _spin(self) -> None:
        while not self._is_closed.is_set() and self._node.context.ok():
            self._guarded(lambda: self._executor.spin_once(timeout_sec=_STEP_S))
            self._guarded(self._each_step)
        self._guarded(self._each_step)  # what came last, such as a cancel

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except ExternalShutdownException:  # the program ends, and with it this thread
            return
        except BaseException:  # noqa: BLE001 - logged; a thread that dies is a fault nobody hears
            self._node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")
            self._is_closed.wait(_PAUSE_S)
