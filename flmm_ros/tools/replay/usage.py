"""Processor and memory of a process, our own or the node's.

Does not know about: what the process does.
"""

from __future__ import annotations

import time

import psutil

_MB = 1 << 20


class Usage:
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
