"""Opens a recording, whole or damaged, and gives its messages in order.

rosbag2 in every usual form: SQLite and MCAP, split, compressed by file, by message or by chunk; a
single storage file too. No ROS is needed. A damaged recording gives what stands before the damage
and says what is wrong. Does not know about: what the messages mean.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from flmm_ros.engine.errors import FlmmError
from flmm_ros.replay.recording.recovery import MCAP_MAGIC, SQLITE_MAGIC, salvage

STORAGE_SUFFIXES = (".mcap", ".db3", ".zstd")
_HASH_BLOCK_BYTES = 1 << 22
# Of vision_msgs, which rosbags does not know: what the numbers of a label image mean.
_LABEL_TYPES = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": (
        "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"
    ),
}


class BagError(FlmmError):
    """A recording that cannot be read at all, or does not hold what is asked for."""

    code = "BAG"


@dataclass(frozen=True)
class RecordedMessage:
    """One message as it was recorded. log_ns: when, by the recorder's clock. data: CDR."""

    topic: str
    type: str
    log_ns: int
    data: bytes


@dataclass(frozen=True)
class RecordedTopic:
    """What a recording holds of one topic."""

    type: str
    count: int


def message_types() -> Typestore:
    """The message types that recordings here are read and written with."""
    store = get_typestore(Stores.LATEST)
    for name, text in _LABEL_TYPES.items():
        store.register(get_types_from_msg(text, name))
    return store


class Bag:
    """An open recording. A context manager.

    damage: what is wrong with it, empty where nothing is. It may only be found out while reading.
    """

    def __init__(self, path: Path | str, name: str = "") -> None:
        """Opens a rosbag2 folder, or one of its storage files.

        name: in reports; empty: that of the folder or file.

        Raises:
            BagError: nothing there, or nothing that is a recording.
        """
        self.path = Path(path)
        self.name = name or (self.path.stem if self.path.is_file() else self.path.resolve().name)
        self.damage = ""
        self.types = message_types()
        self._stack = ExitStack()
        try:
            self._counts: Counter[tuple[str, str]] = Counter()
            self._parts = self._open()
            self.topics = self._topics()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def messages(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        """The messages of some topics, by time; ends at the damage, if there is one."""
        for part in self._parts:
            try:
                yield from part(topics)
            except Exception as error:  # noqa: BLE001 - broken files break readers in any way
                self.damage = str(error) or type(error).__name__
                return

    def decode(self, message: RecordedMessage) -> Any:
        """The message with its fields.

        Raises:
            BagError: its bytes do not fit its type, or the type is unknown.
        """
        try:
            return self.types.deserialize_cdr(message.data, message.type)
        except Exception as error:  # noqa: BLE001 - as above
            raise BagError(
                f"{message.topic}: expected a {message.type}, got {len(message.data)} bytes that "
                f"are none: {error}"
            ) from error

    def sha256(self) -> str:
        """Of all storage files, in order: two recordings with the same one are the same."""
        digest = hashlib.sha256()
        for path in self._files():
            with path.open("rb") as stream:
                while block := stream.read(_HASH_BLOCK_BYTES):
                    digest.update(block)
        return digest.hexdigest()

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        return sorted(p for p in self.path.iterdir() if p.suffix in STORAGE_SUFFIXES)

    def _open(self) -> list[Callable[[Collection[str]], Iterator[RecordedMessage]]]:
        """One reader for a whole recording, or one for each file of a damaged one."""
        path = self.path
        if not path.exists():
            raise BagError(f"{path}: expected a rosbag2 folder, .db3 or .mcap file, nothing there")
        if path.suffix == ".bag":
            raise BagError(
                f"{path}: expected a rosbag2 recording, got one of ROS 1; convert it with "
                f"rosbags-convert --src {path} --dst {path.stem}"
            )
        if path.is_dir() and not self._files():
            found = ", ".join(sorted(p.name for p in path.iterdir())[:5]) or "nothing"
            raise BagError(
                f"{path}: expected a rosbag2 folder with .db3 or .mcap files, got {found}"
            )
        if path.is_file() or (path / "metadata.yaml").is_file():
            try:
                return [self._whole(path)]
            except Exception as error:  # noqa: BLE001 - read by `salvage` then
                self.damage = str(error) or type(error).__name__
        else:
            self.damage = "metadata.yaml is missing: the recording was not finished"
        return [self._damaged(file) for file in self._files()]

    def _whole(self, path: Path) -> Callable[[Collection[str]], Iterator[RecordedMessage]]:
        reader = self._stack.enter_context(Reader(path))

        def read(topics: Collection[str]) -> Iterator[RecordedMessage]:
            wanted: list[Connection] = [c for c in reader.connections if c.topic in topics]
            if wanted:  # an empty list would mean all of them
                for connection, log_ns, data in reader.messages(wanted):
                    yield RecordedMessage(connection.topic, connection.msgtype, log_ns, bytes(data))

        for c in reader.connections:
            self._counts[c.topic, c.msgtype] += c.msgcount
        return read

    def _damaged(self, file: Path) -> Callable[[Collection[str]], Iterator[RecordedMessage]]:
        with file.open("rb") as stream:
            start = stream.read(len(SQLITE_MAGIC))
        if not (start.startswith((MCAP_MAGIC, b"\x28\xb5\x2f\xfd")) or start == SQLITE_MAGIC):
            got = f"a file that begins with {start[:8]!r}" if start else "an empty file"
            raise BagError(
                f"{file}: expected the storage of a rosbag2 recording (SQLite or MCAP), got {got}"
            )

        def read(topics: Collection[str]) -> Iterator[RecordedMessage]:
            with tempfile.TemporaryDirectory() as scratch:
                for topic, kind, log_ns, data in salvage(file, Path(scratch)):
                    if topic in topics or not topics:
                        yield RecordedMessage(topic, kind, log_ns, data)

        return read

    def _topics(self) -> dict[str, RecordedTopic]:
        """By name. A damaged recording has no list of them: it is read once."""
        if self.damage:
            for part in self._parts:
                try:
                    self._counts.update((m.topic, m.type) for m in part(()))
                except Exception as error:  # noqa: BLE001 - as in `messages`
                    self.damage = f"{self.damage}; {error}"
                    break
        return {name: RecordedTopic(kind, n) for (name, kind), n in sorted(self._counts.items())}
