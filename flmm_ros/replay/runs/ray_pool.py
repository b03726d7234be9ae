"""Workers on a Ray cluster, one GPU each where it has GPUs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from flmm_ros.engine.errors import ConfigError
from flmm_ros.replay.runs.task import TRIES, FinishedTask, MakeWorker, RecordingTask

LOCAL = "local"


class RayPool:
    """Up to `workers` actors; 0: as many as the cluster has GPUs, or cores where it has none.

    address: of the cluster ("host:6379", "ray://host:10001", "auto"), or "local" to start Ray on
    this machine.
    """

    def __init__(self, address: str, workers: int, make_worker: MakeWorker) -> None:
        self._address, self._workers, self._make_worker = address, workers, make_worker

    def run(self, tasks: Sequence[RecordingTask]) -> Iterator[FinishedTask]:
        """Every task comes back once.

        Raises:
            ConfigError: Ray is not installed, or there is no cluster at the address.
        """
        if not tasks:
            return
        ray = _ray()
        self._connect(ray)
        try:
            yield from self._run(ray, tasks)
        finally:
            ray.shutdown()

    def _connect(self, ray: Any) -> None:
        where: dict[str, Any] = {} if self._address == LOCAL else {"address": self._address}
        if self._address == LOCAL and self._workers:
            where["num_cpus"] = self._workers
        try:
            ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level="error")
        except Exception as error:  # noqa: BLE001 - Ray raises plain ones where it is slow
            raise ConfigError(
                f"--ray: expected a Ray cluster at {self._address!r}, got: {error}; "
                f"use {LOCAL!r} to start one on this machine"
            ) from error

    def _run(self, ray: Any, tasks: Sequence[RecordingTask]) -> Iterator[FinishedTask]:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        count = self._workers or gpus or int(resources.get("CPU", 1))
        kind = ray.remote(num_gpus=1 if gpus else 0, num_cpus=1)(_Actor)
        waiting, tries = deque(tasks), Counter[str]()
        working: dict[Any, tuple[Any, RecordingTask]] = {}
        idle = [kind.remote(self._make_worker) for _ in range(min(count, len(tasks)))]
        while waiting or working:
            while waiting and (idle or not working):
                actor = idle.pop() if idle else kind.remote(self._make_worker)
                task = waiting.popleft()
                working[actor.do.remote(task)] = (actor, task)
            (done, *_), _ = ray.wait(list(working), num_returns=1)
            actor, task = working.pop(done)
            try:
                error = ray.get(done)
            except ray.exceptions.RayError as end:  # it died, or its machine did
                tries[task.name] += 1
                if tries[task.name] < TRIES:
                    waiting.append(task)
                    continue
                why = str(end).strip().splitlines() or [repr(end)]
                error = f"{TRIES} workers ended while they were at it: {why[-1].strip()}"
            else:
                idle.append(actor)
            yield FinishedTask(task, error)


class _Actor:
    """What Ray runs on the other side."""

    def __init__(self, make_worker: MakeWorker) -> None:
        self._worker = make_worker()

    def do(self, task: RecordingTask) -> str:
        return str(self._worker.do(task))


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "--ray needs Ray, which is not installed; run: pip install 'flmm_ros[ray]'"
        ) from error
    return ray
