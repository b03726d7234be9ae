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

"""Workers on a Ray cluster, one GPU each where it has GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flmm_ros.engine.errors import ConfigError
from flmm_ros.replay.runs.worker_pool import MakeWorker, RecordingTask, WorkerLost, WorkerPool

LOCAL = "local"


class _ActorHandle:
    """An actor and what it has promised: the answer to its task."""

    def __init__(self, actor: Any) -> None:
        self.actor, self.promise = actor, None


class RayPool(WorkerPool[_ActorHandle]):
    """Up to `workers` actors; 0: as many as the cluster has GPUs, or cores where it has none.

    address: of the cluster ("host:6379", "ray://host:10001", "auto"), or "local" to start Ray on
    this machine.
    """

    def __init__(self, address: str, workers: int, make_worker: MakeWorker) -> None:
        self._address, self._workers, self._make_worker = address, workers, make_worker
        self._ray: Any = None
        self._kind: Any = None

    def _open(self, tasks: int) -> int:
        """Connects.

        Raises:
            ConfigError: Ray is not installed, or there is no cluster at the address.
        """
        self._ray = ray = _ray()
        where: dict[str, Any] = {} if self._address == LOCAL else {"address": self._address}
        if self._address == LOCAL and self._workers:
            where["num_cpus"] = self._workers
        try:
            ray.init(**where, include_dashboard=False, log_to_driver=False, logging_level="error")
        except Exception as error:  # Ray raises plain ones where it is slow
            raise ConfigError(
                f"--ray: expected a Ray cluster at {self._address!r}, got: {error}; "
                f"use {LOCAL!r} to start one on this machine"
            ) from error
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        self._kind = ray.remote(num_gpus=1 if gpus else 0, num_cpus=1)(_Actor)
        return min(self._workers or gpus or int(resources.get("CPU", 1)), tasks)

    def _start(self) -> _ActorHandle:
        return _ActorHandle(self._kind.remote(self._make_worker))

    def _hand_over(self, worker: _ActorHandle, task: RecordingTask) -> None:
        worker.promise = worker.actor.do.remote(task)

    def _first_heard(self, workers: Sequence[_ActorHandle]) -> _ActorHandle:
        (heard, *_), _ = self._ray.wait([worker.promise for worker in workers], num_returns=1)
        return next(worker for worker in workers if worker.promise == heard)

    def _answer(self, worker: _ActorHandle) -> str:
        try:
            return str(self._ray.get(worker.promise))
        except self._ray.exceptions.RayError as error:  # it died, or its machine did
            why = str(error).strip().splitlines() or [repr(error)]
            raise WorkerLost(why[-1].strip()) from error

    def _stop(self, worker: _ActorHandle) -> None:
        self._ray.kill(worker.actor)

    def _close(self) -> None:
        if self._ray is not None:
            self._ray.shutdown()


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
