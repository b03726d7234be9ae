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

"""The one thread that owns the model, and the queue of commands before it.

Every job that is submitted is finished exactly once, whatever happens to it: done, refused because
the queue is full, preempted, cancelled, out of time, or in the way of a deactivation. Policies
while a job runs: `queue` lets the next wait, `preempt` stops everything older, `reject` refuses.
A background job, of the node itself, gives way to every other and never counts as being busy.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

_log = logging.getLogger(__name__)


class Busy(str, Enum):
    """What happens to a command that comes while another is at work."""

    QUEUE = "queue"
    PREEMPT = "preempt"
    REJECT = "reject"


class Stop(str, Enum):
    """Why a job ended before its work was done. The values are names of error codes."""

    BUSY = "BUSY"
    PREEMPTED = "PREEMPTED"
    CANCELED = "CANCELED"
    TIMEOUT = "TIMEOUT"
    NOT_ACTIVE = "NOT_ACTIVE"


class Stopped(Exception):
    """Raised by `Job.check` inside the work, to leave it."""

    def __init__(self, reason: Stop) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(eq=False)
class Job(Generic[RequestT]):
    """One command on its way.

    timeout_s: seconds from submission to the end of the work; 0 = no limit.
    is_background: preempted by any job that is not; finished at once where something else runs.
    is_canceled: asked between stages and tokens, and while the job waits.
    """

    request: RequestT
    timeout_s: float = 0.0
    is_canceled: Callable[[], bool] = lambda: False
    is_background: bool = False
    submitted_s: float = field(default_factory=time.monotonic)
    _stop: Stop | None = None  # set by the worker: preempted, or the node is no longer active

    def stop_reason(self) -> Stop | None:
        """Why this job should end now, or None to go on."""
        if self.is_canceled():
            return Stop.CANCELED
        if self._stop is not None:
            return self._stop
        if 0 < self.timeout_s <= time.monotonic() - self.submitted_s:
            return Stop.TIMEOUT
        return None

    def check(self) -> None:
        """Raises Stopped where the job should end."""
        reason = self.stop_reason()
        if reason is not None:
            raise Stopped(reason)


class Worker(Generic[RequestT, ResultT]):
    """Runs jobs one after another on its own thread.

    Args:
        work: does a job; calls `job.check()` often. Runs on the worker's thread only.
        finish: receives the end of every job exactly once: the result of `work`, or the exception
            that ended it (`Stopped` for all but faults). Called on the worker's thread, or on the
            thread of the call that ended the job. What it raises is logged.
    """

    def __init__(
        self,
        work: Callable[[Job[RequestT]], ResultT],
        finish: Callable[[Job[RequestT], ResultT | Exception], None],
        *,
        busy: Busy = Busy.QUEUE,
        max_queue: int = 8,
    ) -> None:
        self._work, self._finish = work, finish
        self._busy, self._max_queue = busy, max_queue
        self._waiting: deque[Job[RequestT]] = deque()
        self._running: Job[RequestT] | None = None
        self._running_since_s = 0.0
        self._is_open = self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="grounding-worker", daemon=True)
        self._thread.start()

    @property
    def queue_length(self) -> int:
        """Jobs that wait; neither the running one nor background jobs are counted."""
        with self._changed:
            return self._waiting_count()

    @property
    def is_full(self) -> bool:
        """As many wait as may; the next one is refused."""
        with self._changed:
            return self._busy is Busy.QUEUE and 0 < self._max_queue <= self._waiting_count()

    @property
    def busy_s(self) -> float:
        """How long the running job has been at work; 0 where none is."""
        with self._changed:
            return time.monotonic() - self._running_since_s if self._running else 0.0

    @property
    def is_idle(self) -> bool:
        """Nothing runs and nothing waits."""
        with self._changed:
            return self._running is None and not self._waiting

    def set_policy(self, busy: Busy, max_queue: int) -> None:
        """Holds for jobs submitted from now on."""
        with self._changed:
            self._busy, self._max_queue = busy, max_queue

    def submit(self, job: Job[RequestT]) -> None:
        """Starts the job, queues it or finishes it at once with Stop.BUSY or Stop.NOT_ACTIVE."""
        ended: list[tuple[Job[RequestT], Stop]] = []
        with self._changed:
            refusal = self._refusal(job)
            if refusal is not None:
                ended.append((job, refusal))
            else:
                ended += self._make_way()
                self._waiting.append(job)
                self._changed.notify_all()
        self._end(ended)

    def _make_way(self) -> list[tuple[Job[RequestT], Stop]]:
        """Preempts what gives way to a new job: everything, or background jobs only. Returns the
        waiting ones, to be ended outside the lock."""
        is_preempting = self._busy is Busy.PREEMPT
        gone = [job for job in self._waiting if is_preempting or job.is_background]
        for job in gone:
            self._waiting.remove(job)
        if self._running is not None and (is_preempting or self._running.is_background):
            self._stop_running(Stop.PREEMPTED)
        return [(job, Stop.PREEMPTED) for job in gone]

    def sweep(self) -> None:
        """Finishes waiting jobs that were cancelled or are late. To be called now and then."""
        with self._changed:
            reasons = [(job, job.stop_reason()) for job in self._waiting]
            ended = [(job, reason) for job, reason in reasons if reason is not None]
            for job, _ in ended:
                self._waiting.remove(job)
        self._end(ended)

    def open(self) -> None:
        """Jobs are accepted from now on."""
        with self._changed:
            self._is_open = True

    def pause(self, timeout_s: float) -> bool:
        """Accepts no more jobs and finishes all there are with Stop.NOT_ACTIVE.

        Returns:
            True once nothing runs any more; False where the running job was still inside a stage
            after `timeout_s` seconds (it ends at its next check).
        """
        with self._changed:
            self._is_open = False
            ended = [(job, Stop.NOT_ACTIVE) for job in self._waiting]
            self._waiting.clear()
            self._stop_running(Stop.NOT_ACTIVE)
        self._end(ended)
        with self._changed:
            return self._changed.wait_for(lambda: self._running is None, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Pauses, then ends the thread. Returns False where it could not end in time."""
        self.pause(timeout_s)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _refusal(self, job: Job[RequestT]) -> Stop | None:
        if not self._is_open:
            return Stop.NOT_ACTIVE
        if job.is_background:
            return Stop.BUSY if self._running or self._waiting else None
        waiting = self._waiting_count()
        is_busy = waiting > 0 or (self._running is not None and not self._running.is_background)
        if self._busy is Busy.REJECT and is_busy:
            return Stop.BUSY
        if self._busy is Busy.QUEUE and is_busy and waiting >= self._max_queue:
            return Stop.BUSY
        return None

    def _waiting_count(self) -> int:
        return sum(not job.is_background for job in self._waiting)

    def _stop_running(self, reason: Stop) -> None:
        if self._running is not None and self._running._stop is None:
            self._running._stop = reason

    def _end(self, ended: list[tuple[Job[RequestT], Stop]]) -> None:
        """Outside the lock: `finish` may publish, and may submit again."""
        for job, reason in ended:
            self._report(job, Stopped(reason))

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                job = self._running = self._waiting.popleft()
                self._running_since_s = time.monotonic()
            self._run(job)
            with self._changed:
                self._running = None
                self._changed.notify_all()

    def _run(self, job: Job[RequestT]) -> None:
        """One job from start to end; whatever it raises, the thread lives on."""
        outcome: ResultT | Exception
        try:
            job.check()
            outcome = self._work(job)
        except Exception as error:  # noqa: BLE001 - not hidden: `finish` receives it
            outcome = error
        except BaseException as error:  # noqa: BLE001 - a library's sys.exit ends threads in silence
            outcome = RuntimeError(f"{type(error).__name__} in the model: {error}")
            outcome.__cause__ = error
        self._report(job, outcome)

    def _report(self, job: Job[RequestT], outcome: ResultT | Exception) -> None:
        """The end of one job; a fault in `finish` must not lose the jobs behind it."""
        try:
            self._finish(job, outcome)
        except BaseException:  # noqa: BLE001 - logged with its traceback
            _log.exception("a finished job could not be reported")
