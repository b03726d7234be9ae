"""Processes of this machine that share work. One that dies takes nothing with it: its task is done
by another, and only a task that has ended two of them is given up.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import cast

from flmm_ros.replay.runs.task import TRIES, FinishedTask, MakeWorker, RecordingTask


class LocalPool:
    """Up to `workers` processes. make_worker: a function or class that can be pickled."""

    def __init__(self, workers: int, make_worker: MakeWorker) -> None:
        self._workers, self._make_worker = workers, make_worker

    def run(self, tasks: Sequence[RecordingTask]) -> Iterator[FinishedTask]:
        """Every task comes back once."""
        waiting, tries = deque(tasks), Counter[str]()
        working: dict[Connection, tuple[_Process, RecordingTask]] = {}
        idle: list[_Process] = []
        try:
            while waiting or working:
                while waiting and len(working) < self._workers:
                    process = idle.pop() if idle else _Process(self._make_worker)
                    task = waiting.popleft()
                    process.connection.send(task)
                    working[process.connection] = (process, task)
                for connection in wait(list(working)):
                    process, task = working.pop(cast(Connection, connection))
                    try:
                        error = process.connection.recv()
                    except EOFError:
                        process.end()
                        tries[task.name] += 1
                        if tries[task.name] < TRIES:
                            waiting.append(task)
                            continue
                        error = f"{TRIES} workers ended while they were at it"
                    else:
                        idle.append(process)
                    yield FinishedTask(task, error)
        finally:
            for process in (*idle, *(process for process, _ in working.values())):
                process.end()


class _Process:
    """A worker and the pipe to it."""

    def __init__(self, make_worker: MakeWorker) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share the model's threads
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, make_worker), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is seen when it dies

    def end(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join()


def _work(connection: Connection, make_worker: MakeWorker) -> None:
    worker = make_worker()
    while True:
        try:
            task = connection.recv()
        except EOFError:  # nobody needs us any more
            return
        connection.send(worker.do(task))
