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

"""Runs one step of the set-up: a line on the screen, everything else in a log file."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HEARTBEAT_S = 30.0  # a step that says nothing for longer looks dead in a CI log
TAIL_LINES = 25
LINE_CHARS = 200  # pip lists every release there ever was


class StepFailed(Exception):
    """A step did not succeed; the message says where its log is."""


def run_step(
    number: str, title: str, command: Sequence[str], logs: Path, env: Mapping[str, str]
) -> None:
    """Runs `command`, shows the seconds it takes and, if it fails, the end of its log.

    Raises:
        StepFailed: it could not be started or ended with another exit status than 0.
    """
    log = logs / f"{re.sub(r'[^a-z0-9]+', '-', (number + ' ' + title).lower()).strip('-')}.log"
    start = time.monotonic()
    label = f"[{number}] {title}"
    is_terminal = sys.stdout.isatty()
    print(label, end=" ... " if is_terminal else " ...\n", flush=True)
    with log.open("wb") as sink:
        try:
            child = subprocess.Popen(
                command, stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env
            )
        except OSError as error:
            raise StepFailed(f"{title}: cannot start {command[0]}: {error.strerror}") from error
        try:
            status = _wait(child, label, start, log, is_terminal)
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if status:
        print(f"{label}: failed after {time.monotonic() - start:.0f} s. The end of {log}:")
        print("\n".join(f"    {line[:LINE_CHARS]}" for line in _lines(log)[-TAIL_LINES:]))
        raise StepFailed(f"{title} failed (exit status {status}); the whole log is {log}")
    done = f"{time.monotonic() - start:.0f} s"
    print(f"\r\033[K{label} ... {done}" if is_terminal else f"      {done}", flush=True)


def _wait(
    child: subprocess.Popen[bytes], label: str, start: float, log: Path, is_terminal: bool
) -> int:
    beat = start
    while True:
        try:
            return child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        if is_terminal:
            last = (_lines(log) or [""])[-1].strip()[:70]
            print(f"\r\033[K{label} ... {now - start:.0f} s  {last}", end="", flush=True)
        elif now - beat >= HEARTBEAT_S:
            beat = now
            print(f"      {now - start:.0f} s so far", flush=True)


def _lines(log: Path) -> list[str]:
    """The log without what is of no use to a reader: pip's remarks about folders of packages."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        text = file.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip() and "is ignored: it is" not in line]
