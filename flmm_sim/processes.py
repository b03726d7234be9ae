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

"""Child processes that end with their parent: each in its own process group, with a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

STOP_TIMEOUT_S = 5.0  # for each of SIGINT and SIGTERM, before SIGKILL
TAIL_LINES = 25


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defers SIGINT and SIGTERM until after the block: a signal that arrived between the start of a
    process and the assignment of its handle would leave the process behind. Python handles signals
    on the main thread only; handlers that were not set from Python (rclpy's, see
    `SignalHandlerOptions`) cannot be restored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {
        how: signal.signal(how, lambda number, _: arrived.append(number))
        for how in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for how, handler in handlers.items():
            signal.signal(how, signal.SIG_DFL if handler is None else handler)
    for number in arrived:
        signal.raise_signal(number)


class ChildProcess:
    """One Python module that runs as a process, its output in a log file.

    A context manager: leaving it, for whatever reason, ends the process and everything it started.
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        self.name, self.log = name, log
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ChildProcess:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("wb") as stream, _signals_deferred():
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except BaseException:  # also a deferred signal
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process is not None and self.is_running else None

    def end(self, how: signal.Signals) -> int | None:
        """Sends one signal and waits for the end that follows; returns the exit code."""
        if self._process is None:
            return None
        self._signal(how)
        return self._process.wait(10 * STOP_TIMEOUT_S)

    def check(self) -> None:
        """Raises RuntimeError with the end of the log where the process has ended by itself."""
        if not self.is_running:
            code = None if self._process is None else self._process.returncode
            raise RuntimeError(
                f"{self.name}: expected a running process, but it ended with code {code}; "
                f"see {self.log}"
            )

    @staticmethod
    def tail_of(log: Path) -> str:
        """The last lines of a log, under the name of the file."""
        text = log.read_text(errors="replace") if log.is_file() else ""
        lines = text.splitlines()[-TAIL_LINES:] or ["(nothing written)"]
        return "\n".join([f"--- end of {log} ---", *lines])

    def stop(self) -> int | None:
        """Ends the process group, politely first, and returns the exit code."""
        if self._process is None:
            return None
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            self._signal(how)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
        self._signal(signal.SIGKILL)  # what it may have left behind in its group
        return self._process.wait()

    def _signal(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # the whole group has ended already
            os.killpg(self._process.pid, how)
