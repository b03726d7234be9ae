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

"""Writing to disks that are full, read-only or not there: said before work begins, with a path.

Every writer of training goes through `writing`, so that a disk that fills up in the middle of a run
ends it with one coded error and leaves what was complete before.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from flmm_ros.engine.errors import FlmmError


class DiskError(FlmmError):
    """A folder or disk that cannot be written. The message names the path and the room there."""

    code = "DISK"


@contextmanager
def writing(path: Path, needed_bytes: int | None = None) -> Iterator[None]:
    """Names the path, and the room there, in errors of what is written inside.

    Raises:
        DiskError: instead of the operating system's errors.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        wanted = "to write there" if needed_bytes is None else f"{size_text(needed_bytes)} of room"
        raise DiskError(
            f"{path}: expected {wanted}, got: {reason}; free there: {free_text(path)}; make room, "
            "or choose another folder"
        ) from error


def require_writable(folder: Path) -> None:
    """Makes a folder and tries to write into it.

    Raises:
        DiskError: a file is in its place, or it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise DiskError(f"{folder}: expected a folder, got a file; choose another folder")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".can-be-written-") as probe:
            probe.write(b"yes")
            probe.flush()


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Raises DiskError where a disk has less free than `what` will take."""
    free = free_bytes(folder)
    if needed_bytes > free:
        raise DiskError(
            f"{folder}: expected {size_text(needed_bytes)} free for {what}, got {size_text(free)}; "
            "make room, or choose another folder"
        )


def free_bytes(folder: Path) -> int:
    """Free for this user on the disk of a folder that may not exist yet."""
    return shutil.disk_usage(_nearest(folder)).free


def free_text(folder: Path) -> str:
    """The same for people."""
    try:
        return size_text(free_bytes(folder))
    except OSError as error:
        return f"unknown ({error.strerror})"


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file and waits until every byte is on the disk.

    Raises:
        DiskError: it cannot be written.
    """
    with writing(path, len(content)), path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def size_text(count: float) -> str:
    """Bytes for people."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    power = min(len(units) - 1, int(math.log(max(count, 1), 1024)))
    return f"{count / 1024**power:.{1 if power else 0}f} {units[power]}"


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.is_dir())
