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

"""Runs the node as a process: executor, signals, logging, exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn, TypeVar

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from flmm_ros.engine.runtime.allocator import limit_malloc_arenas
from flmm_ros.ros.node.executor import NodeExecutor

NodeT = TypeVar("NodeT", bound=Node)

_FLUSH_S = 0.5  # for the last answers to leave
_SETTLE_S = 0.1  # rclpy's shutdown destroys what callbacks still at work would touch
_BAD_ARGUMENTS = 2


class _RosHandler(logging.Handler):
    """Sends Python's log records, the engine's among them, to the node's logger."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__(logging.INFO)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """One record; rclpy wants one call site for each severity."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        else:
            self._logger.info(text)


def run(
    make_node: Callable[[], NodeT],
    stop_node: Callable[[NodeT], None],
    argv: list[str] | None = None,
) -> int:
    """Spins a node until SIGINT or SIGTERM, then ends the process with exit code 0, within
    seconds, whatever is going on.

    Args:
        stop_node: ends the node's work and answers what waits, while its publishers still live.

    Returns:
        2, where arguments or parameters cannot be used; otherwise it does not return.
    """
    limit_malloc_arenas()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        # rclpy's own handlers would end communication before the last answers are sent.
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    except (ParameterException, RuntimeError) as error:
        print(f"grounding_node: {error}", file=sys.stderr)
        return _BAD_ARGUMENTS
    handler = _RosHandler(node.get_logger())
    logging.getLogger("flmm_ros").addHandler(handler)
    logging.getLogger("flmm_ros").setLevel(logging.INFO)
    executor = NodeExecutor()
    executor.add_node(node)
    try:
        _spin(executor, node, stop.is_set)
        stop_node(node)
        end_s = time.monotonic() + _FLUSH_S
        _spin(executor, node, lambda: time.monotonic() >= end_s)
    except Exception:  # noqa: BLE001 - logged; the process ends as it was told to
        node.get_logger().error(f"the node did not stop cleanly:\n{traceback.format_exc()}")
    executor.remove_node(node)
    time.sleep(_SETTLE_S)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    _end_process(0)


def _end_process(code: int) -> NoReturn:
    """Ends at once. Python's own way waits for threads, of which one may be loading a model, takes
    seconds to take torch and transformers apart, and dies of a signal that comes meanwhile."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _spin(executor: NodeExecutor, node: Node, is_over: Callable[[], bool]) -> None:
    """A fault in one callback is logged and ends that callback only, not the node."""
    while not is_over():
        try:
            executor.spin_once(timeout_sec=0.1)
        except BaseException:  # noqa: BLE001 - logged with its traceback
            node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")
