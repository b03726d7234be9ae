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

"""One storage file of a recording, whole or damaged: its topics and its messages.

rosbags reads whole files. What it refuses (no index, another profile, a log of SQLite beside the
file, damage) is read from the beginning to the first fault; a file in which there is none is whole.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import zstandard
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader

from flmm_ros.engine.errors import FlmmError
from flmm_ros.replay.recording.mcap_recovery import MCAP_MAGIC, messages_of_mcap
from flmm_ros.replay.recording.sqlite_recovery import (
    SQLITE_MAGIC,
    log_beside,
    messages_of_sqlite,
)
from flmm_ros.replay.recording.stored_message import (
    ZSTD_MAGIC,
    Damage,
    StoredMessage,
    unpacked_message,
)

STORAGE_SUFFIXES = (".mcap", ".db3", ".zstd")
ROS1_MAGIC = b"#ROSBAG V"
_BLOCK_BYTES = 1 << 20


class BagError(FlmmError):
    """A recording that cannot be read at all, or does not hold what is asked for."""

    code = "BAG"


@dataclass
class StoredTopic:
    """What a file holds of one topic under one type. definition: of the type, where it is there."""

    count: int = 0
    encoding: str = "cdr"
    definition: str = ""


@dataclass
class StorageFile:
    """An open file. topics: by name and type. damage: its first fault, empty where none is known.

    plain: the file that is read, unpacked where `path` is compressed as a whole.
    """

    path: Path
    plain: Path
    damage: str = ""
    topics: dict[tuple[str, str], StoredTopic] = field(default_factory=dict)
    reader: Reader | None = None

    def messages(self, topics: Collection[str]) -> Iterator[StoredMessage]:
        """The messages of some topics.

        Raises:
            Damage: at the first fault, after the last good message.
        """
        if self.reader is None:
            for message in _recovered(self.plain):
                if message.topic in topics:
                    yield message
            if self.damage:  # found before it was opened: the packed file was cut off
                raise Damage(self.damage)
            return
        wanted = [c for c in self.reader.connections if c.topic in topics]
        if not wanted:  # an empty list would mean all of them
            return
        try:
            for c, log_ns, data in self.reader.messages(wanted):
                plain = unpacked_message(bytes(data))
                yield StoredMessage(c.topic, c.msgtype, "cdr", log_ns, plain)
        except Exception as error:  # broken files break readers in any way
            raise Damage(str(error) or type(error).__name__) from error


def open_storage(path: Path, stack: ExitStack) -> StorageFile:
    """Opens a file until `stack` is closed.

    Raises:
        BagError: it is no storage of a rosbag2 recording.
    """
    plain, cut = (_unpacked(path, stack) if _begins_with(path, ZSTD_MAGIC) else path), ""
    if isinstance(plain, tuple):
        plain, cut = plain
    _refuse_foreign(path, plain)
    file = StorageFile(path, plain, cut)
    is_logged = log_beside(plain).exists() and log_beside(plain).stat().st_size > 0
    if not is_logged and not cut:
        try:
            file.reader = stack.enter_context(Reader(plain))
        except Exception:  # noqa: BLE001 - what it is, the recovery says
            file.reader = None
    if file.reader is not None:
        for c in file.reader.connections:
            topic = file.topics.setdefault((c.topic, c.msgtype), StoredTopic())
            topic.count += c.msgcount
            topic.encoding = getattr(c.ext, "serialization_format", "") or "cdr"
            if c.msgdef.format is MessageDefinitionFormat.MSG:
                topic.definition = c.msgdef.data
    else:
        _count(file)
    return file


def _count(file: StorageFile) -> None:
    """A file without an index has no list of its topics: it is read once."""
    counts: Counter[tuple[str, str, str]] = Counter()
    try:
        counts.update((m.topic, m.type, m.encoding) for m in _recovered(file.plain))
    except Damage as damage:
        file.damage = file.damage or str(damage)
    for (name, kind, encoding), count in counts.items():
        file.topics[name, kind] = StoredTopic(count, encoding)


def _recovered(plain: Path) -> Iterator[StoredMessage]:
    is_mcap = _begins_with(plain, MCAP_MAGIC)
    return messages_of_mcap(plain) if is_mcap else messages_of_sqlite(plain)


def _unpacked(path: Path, stack: ExitStack) -> tuple[Path, str]:
    """A file that was compressed as a whole, unpacked; of a cut one its beginning and the fault."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flmm_replay_")))
    plain, fault = folder / path.stem, ""
    with path.open("rb") as packed, plain.open("wb") as out:
        reader = zstandard.ZstdDecompressor().stream_reader(packed)
        try:
            while block := reader.read(_BLOCK_BYTES):
                out.write(block)
        except zstandard.ZstdError as error:
            fault = f"it cannot be decompressed to its end: {error}"
    return plain, fault


def _refuse_foreign(path: Path, plain: Path) -> None:
    start = _beginning(plain)
    if start.startswith((MCAP_MAGIC, SQLITE_MAGIC)):
        return
    if start.startswith(ROS1_MAGIC):
        raise BagError(f"{path}: {ros1_advice(path)}")
    got = f"a file that begins with {start[:8]!r}" if start else "an empty file"
    if plain != path:
        got += " inside the zstd file"
    raise BagError(
        f"{path}: expected the storage of a rosbag2 recording (SQLite or MCAP), got {got}"
    )


def ros1_advice(path: Path) -> str:
    """What to do with a recording of ROS 1."""
    return (
        "expected a rosbag2 recording, got one of ROS 1; convert it with rosbags-convert "
        f"--src {path} --dst {path.stem}"
    )


def _begins_with(path: Path, magic: bytes) -> bool:
    return _beginning(path).startswith(magic)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(len(SQLITE_MAGIC))
