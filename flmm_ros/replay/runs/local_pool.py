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

"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from flmm_ros.replay.runs.worker_pool import MakeWorker, RecordingTask, WorkerLost, WorkerPool


class _WorkerProcess:
    """A process and the pipe to it."""

    def __init__(self, make_worker: MakeWorker) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the model's threads
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, make_worker), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is seen when it dies


class LocalPool(WorkerPool[_WorkerProcess]):
    """Up to `workers` processes. make_worker: a function or class that can be pickled."""

    def __init__(self, workers: int, make_worker: MakeWorker) -> None:
        self._workers, self._make_worker = workers, make_worker

    def _open(self, tasks: int) -> int:
        return min(self._workers, tasks)

    def _start(self) -> _WorkerProcess:
        return _WorkerProcess(self._make_worker)

    def _hand_over(self, worker: _WorkerProcess, task: RecordingTask) -> None:
        with suppress(OSError):  # it died while it was idle; its end of the pipe says so
            worker.connection.send(task)

    def _first_heard(self, workers: Sequence[_WorkerProcess]) -> _WorkerProcess:
        heard = wait([worker.connection for worker in workers])
        return next(worker for worker in workers if worker.connection in heard)

    def _answer(self, worker: _WorkerProcess) -> str:
        try:
            return str(worker.connection.recv())
        except (EOFError, OSError) as error:
            worker.process.join(timeout=1.0)
            raise WorkerLost(f"exit code {worker.process.exitcode}") from error

    def _stop(self, worker: _WorkerProcess) -> None:
        worker.connection.close()
        worker.process.terminate()
        worker.process.join()


def _work(connection: Connection, make_worker: MakeWorker) -> None:
    worker = make_worker()
    while True:
        try:
            task = connection.recv()
        except EOFError:  # nobody needs us any more
            return
        connection.send(worker.do(task))
