"""Work for a pool: one recording to evaluate, and how that ended.

Light on purpose: a worker's process reads this before it loads anything heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

TRIES = 2  # workers that may end over one task before it is given up
MakeWorker = Callable[[], Any]  # of something with do(task) -> error; called where it works


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


class WorkerPool(Protocol):
    """Workers. Every task comes back once, in whatever order; whatever happens to a worker."""

    def run(self, tasks: Sequence[RecordingTask]) -> Iterator[FinishedTask]:
        """Does all of them."""
        ...
