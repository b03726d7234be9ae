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

"""Spins a node on one thread, and lets callbacks that may take long run beside it.

rclpy's own MultiThreadedExecutor hands a callback to its threads again and again until one of them
has begun: milliseconds in which the interpreter does nothing else, for every message. Callbacks
that only store, submit and publish are done sooner than handed over.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import (
    ConditionReachedException,
    Executor,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)
from rclpy.task import Task

LONG_THREADS = 4  # a state is asked for while another transition runs, and then some


class LongCallbacks(ReentrantCallbackGroup):
    """Callbacks that may take seconds, such as a transition that loads a model."""


class NodeExecutor(Executor):
    """Runs callbacks one after another on the thread that spins; those of a `LongCallbacks` group
    on threads of their own, also several at once."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(LONG_THREADS, thread_name_prefix="long-callback")
        self._handed: list[Task[None]] = []

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Waits for one callback and runs it, or hands it over.

        Raises:
            Exception: what a callback raised; of one that was handed over, some calls later.
        """
        self._raise_failures()
        try:
            task, entity, _ = self.wait_for_ready_callbacks(timeout_sec=timeout_sec)
        except (
            ConditionReachedException,
            ExternalShutdownException,
            ShutdownException,
            TimeoutException,
        ):
            return
        if entity is None or not isinstance(entity.callback_group, LongCallbacks):
            task()
            task.result()  # raises what the callback raised
        elif task not in self._handed:  # rclpy offers it until it has begun
            self._handed.append(task)
            self._threads.submit(task)

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Ends the threads too, as soon as what runs there returns; that is not waited for."""
        is_done = super().shutdown(timeout_sec)
        self._threads.shutdown(wait=False, cancel_futures=True)
        return is_done

    def _raise_failures(self) -> None:
        for task in [task for task in self._handed if task.done()]:
            self._handed.remove(task)
            task.result()
