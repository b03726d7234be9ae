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

"""Processor and memory of a process, our own or the node's."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil

_MB = 1 << 20
_PROGRAM = "grounding_node"


class ProcessUsage:
    """Time and processor used since this was made. pid: None = not known, nothing is measured."""

    def __init__(self, pid: int | None) -> None:
        self._process = None if pid is None else psutil.Process(pid)
        self._start_s = time.monotonic()
        self._start_cpu_s = self._cpu_s()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start_s

    @property
    def cpu_percent(self) -> float | None:
        """Of one core; more than 100 where several were used. None: not known any more."""
        used_s = self._cpu_s()
        if used_s is None or self._start_cpu_s is None:
            return None
        return round(100 * (used_s - self._start_cpu_s) / max(1e-6, self.seconds), 1)

    def rss_mb(self) -> float | None:
        """Memory now."""
        if self._process is None:
            return None
        try:
            return round(self._process.memory_info().rss / _MB, 2)
        except psutil.NoSuchProcess:
            return None

    def _cpu_s(self) -> float | None:
        if self._process is None:
            return None
        try:
            times = self._process.cpu_times()
        except psutil.NoSuchProcess:
            return None
        return float(times.user + times.system)


def find_process(name: str) -> int | None:
    """The process of the grounding node called so, on this machine and in this ROS domain; None:
    there is none, or more than one."""
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):  # it has ended, or is somebody else's
            line = process.info["cmdline"] or []
            names = [part.partition("__node:=")[2] for part in line if "__node:=" in part]
            is_node = any(_PROGRAM in part for part in line[:3]) and process.pid != os.getpid()
            is_named = name == (names[-1] if names else _PROGRAM)
            if is_node and is_named and process.environ().get("ROS_DOMAIN_ID", "0") == domain:
                found.append(process)
    # A shell or a launcher that started the node has its name on the command line as well.
    leaves = [p for p in found if not any(c in found for c in p.children(recursive=True))]
    return leaves[0].pid if len(leaves) == 1 else None
