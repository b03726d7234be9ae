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

"""Work for a pool, and the one rule of all pools: what becomes of a task whose worker is lost.

Light on purpose: a worker's process reads this before it loads anything heavy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

TRIES = 2  # workers that may end over one task before it is given up
MakeWorker = Callable[[], Any]  # of something with do(task) -> error; called where it works
HandleT = TypeVar("HandleT")  # how a pool holds on to one of its workers


@dataclass(frozen=True)
class RecordingTask:
    """One recording to evaluate; paths as texts, so that they can be sent to other machines."""

    name: str
    bag: str
    scenario: str
    out: str


@dataclass(frozen=True)
class FinishedTask:
    """A task that has ended. error: empty where its results are there."""

    task: RecordingTask
    error: str = ""


class WorkerLost(Exception):
    """A worker that is no more: it died, or its machine did. The text says how, where known."""


class WorkerPool(ABC, Generic[HandleT]):
    """Workers that share tasks. Subclasses say how one is started, handed a task, and heard."""

    def run(self, tasks: Sequence[RecordingTask]) -> Iterator[FinishedTask]:
        """Does all tasks; every one comes back once, in whatever order.

        A worker that is lost takes nothing with it: its task goes to another one, and only a task
        that has lost TRIES workers, at work or before they began, is given up.
        """
        if not tasks:
            return
        waiting, lost = deque(tasks), Counter[str]()
        busy: dict[HandleT, RecordingTask] = {}
        idle: list[HandleT] = []
        try:
            most = self._open(len(tasks))
            while waiting or busy:
                while waiting and len(busy) < most:
                    worker = idle.pop() if idle else self._start()
                    busy[worker] = waiting.popleft()
                    self._hand_over(worker, busy[worker])
                worker = self._first_heard(list(busy))
                task = busy.pop(worker)
                try:
                    error = self._answer(worker)
                except WorkerLost as end:
                    self._stop(worker)
                    lost[task.name] += 1
                    if lost[task.name] < TRIES:
                        waiting.append(task)
                        continue
                    error = f"{TRIES} workers ended while they were at it"
                    error += f": {end}" if str(end) else ""
                else:
                    idle.append(worker)
                yield FinishedTask(task, error)
        finally:
            for worker in (*idle, *busy):
                self._stop(worker)
            self._close()

    @abstractmethod
    def _open(self, tasks: int) -> int:
        """Gets ready for so many tasks; returns how many workers there may be at once."""

    @abstractmethod
    def _start(self) -> HandleT:
        """A new worker."""

    @abstractmethod
    def _hand_over(self, worker: HandleT, task: RecordingTask) -> None:
        """Gives a task to an idle worker; never raises because it is lost: `_answer` does."""

    @abstractmethod
    def _first_heard(self, workers: Sequence[HandleT]) -> HandleT:
        """Waits until one of them has ended its task or is lost."""

    @abstractmethod
    def _answer(self, worker: HandleT) -> str:
        """What that worker says of its task: why it could not, or nothing.

        Raises:
            WorkerLost: it is no more.
        """

    @abstractmethod
    def _stop(self, worker: HandleT) -> None:
        """Ends a worker, lost or not."""

    def _close(self) -> None:
        """Ends what `_open` began; also called where that failed."""
