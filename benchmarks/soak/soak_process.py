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

"""The soak's node process: started, killed, asked to end; its memory and CPU are sampled."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from flmm_sim.processes import ChildProcess

SAMPLE_S = 1.0
MODULE, VARIABLE = "benchmarks.soak.faulty_node", "FLMM_FAULTS"
MIB = 2**20
WARM_UP_SAMPLES, WARM_UP_SHARE = 60, 0.3  # whichever is longer
QUARTER_SAMPLES = 15


@dataclass(frozen=True)
class ProcessSample:
    """One sample of a process: resident memory, and CPU seconds it has used so far."""

    at_s: float
    life: int
    rss_mib: float
    cpu_s: float


class SoakProcess:
    """One process of the faulty node after another. A context manager: leaving it ends the last."""

    def __init__(self, namespace: str, parameters: Mapping[str, object], faults: str, out: Path):
        self._arguments = ["--ros-args", "-r", f"__ns:={namespace}"]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            self._arguments += ["-p", f"{name}:={text}"]
        self._faults, self._out = faults, out
        self._child: ChildProcess | None = None
        self.lives = 0
        self._samples: list[ProcessSample] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> SoakProcess:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._end()

    @property
    def log(self) -> Path:
        """Of the present process."""
        return self._out / f"node_{self.lives}.log"

    @property
    def samples(self) -> Sequence[ProcessSample]:
        """So far."""
        return tuple(self._samples)

    def start(self) -> None:
        """Starts a process, in place of the one that has ended."""
        self._end()
        self.lives += 1
        os.environ[VARIABLE] = self._faults
        self._child = ChildProcess("the node", MODULE, self._arguments, self.log)
        self._child.__enter__()

    def kill(self) -> None:
        """SIGKILL: the process cannot react."""
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, and waits until it has ended."""
        self._send(signal.SIGTERM)

    def check(self) -> None:
        """Raises RuntimeError where the process has ended by itself."""
        if self._child is not None:
            self._child.check()

    def _send(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.end(number)

    def _end(self) -> None:
        if self._child is not None:
            self._child.stop()

    def _sample(self) -> None:
        while not self._is_over.wait(SAMPLE_S):
            child, life = self._child, self.lives
            pid = None if child is None else child.pid
            if pid is None:
                continue
            try:
                process = psutil.Process(pid)
                memory, times = process.memory_info(), process.cpu_times()
            except psutil.Error:
                continue  # it has just ended, as it often does in a soak
            cpu_s = times.user + times.system
            self._samples.append(ProcessSample(time.monotonic(), life, memory.rss / MIB, cpu_s))


def growth_percent(samples: Sequence[ProcessSample]) -> float:
    """How much the memory of the last process grew after its warm-up: the mean of the last quarter
    of what follows the warm-up above the mean of its first quarter. NaN where too little follows.
    """
    life = [s.rss_mib for s in samples if s.life == samples[-1].life] if samples else []
    after = life[max(WARM_UP_SAMPLES, int(len(life) * WARM_UP_SHARE)) :]
    quarter = len(after) // 4
    if quarter < QUARTER_SAMPLES:
        return float("nan")
    first, last = (sum(part) / quarter for part in (after[:quarter], after[-quarter:]))
    return 100.0 * (last - first) / first
