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

"""Opens a recording, whole or damaged, and gives its messages in order.

rosbag2 in every usual form: SQLite and MCAP, split, compressed by file, by message or by chunk; a
single storage file too. No ROS is needed. metadata.yaml only says which files belong together:
whatever is wrong with it, the files are read. A damaged recording gives what stands before the
damage and says what is wrong.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flmm_ros.replay.recording.bag_files import files_of, storage_files_in
from flmm_ros.replay.recording.message_types import definition_problem, message_types
from flmm_ros.replay.recording.storage_file import (
    STORAGE_SUFFIXES,
    BagError,
    StorageFile,
    StoredTopic,
    open_storage,
    ros1_advice,
)
from flmm_ros.replay.recording.stored_message import Damage

__all__ = ["STORAGE_SUFFIXES", "Bag", "BagError", "RecordedMessage", "RecordedTopic"]

CDR = "cdr"
_ROS1 = "ros1"
_HASH_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class RecordedMessage:
    """One message as it was recorded. log_ns: when, by the recorder's clock. data: CDR."""

    topic: str
    type: str
    log_ns: int
    data: bytes


@dataclass(frozen=True)
class RecordedTopic:
    """What a recording holds of one topic. encoding: of its messages, "cdr" in ROS 2."""

    type: str
    count: int
    encoding: str = CDR
    definition: str = ""


class Bag:
    """An open recording. A context manager.

    damage: what is wrong with it, empty where nothing is. It may only be found out while reading.
    notes: what else a user should know, such as a metadata.yaml that could not be used.
    """

    def __init__(self, path: Path | str, name: str = "") -> None:
        """Opens a rosbag2 folder, or one of its storage files.

        name: in reports; empty: that of the folder or file.

        Raises:
            BagError: nothing there, or nothing that is a recording.
        """
        self.path = Path(path)
        self.name = name or (self.path.stem if self.path.is_file() else self.path.resolve().name)
        self.types = message_types()
        files = files_of(self.path)
        self.damage, self.notes = files.damage, list(files.notes)
        self._is_one_file = self.path.is_file()
        self._stack = ExitStack()
        try:
            self._files = [open_storage(path, self._stack) for path in files.paths]
            self.topics = self._topics()
            self._check(files.messages)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def messages(self, topics: Collection[str]) -> Iterator[RecordedMessage]:
        """The messages of some topics, by time; ends at the damage, if there is one.

        Nothing behind the damage is read: names of labels, which are recorded once, may be missing.
        """
        for file in self._files:
            try:
                for found in file.messages(topics):
                    if self.topics[found.topic].type == found.type:
                        yield RecordedMessage(found.topic, found.type, found.log_ns, found.data)
            except Damage as damage:
                self._set_damage(file, str(damage))
                return

    def decode(self, message: RecordedMessage) -> Any:
        """The message with its fields.

        Raises:
            BagError: its bytes do not fit its type, or the type is unknown.
        """
        try:
            return self.types.deserialize_cdr(message.data, message.type)
        except Exception as error:  # broken bytes break it in any way
            raise BagError(
                f"{message.topic}: expected a {message.type}, got {len(message.data)} bytes that "
                f"cannot be read as one: {error}"
            ) from error

    def check_definition(self, topic: str) -> None:
        """Whether a topic's type was defined as it is here: else its bytes mean something else.

        Raises:
            BagError: with the fields that differ.
        """
        found = self.topics[topic]
        if problem := definition_problem(self.types, found.type, found.definition):
            raise BagError(
                f"{self.path}: {topic}: {problem}; record it again with the definitions of ROS 2"
            )

    def sha256(self) -> str:
        """Of all storage files, in order: two recordings with the same one are the same."""
        digest = hashlib.sha256()
        paths = [self.path] if self._is_one_file else storage_files_in(self.path)
        for path in sorted(paths):
            with path.open("rb") as stream:
                while block := stream.read(_HASH_BLOCK_BYTES):
                    digest.update(block)
        return digest.hexdigest()

    def described_topics(self) -> str:
        """All topics with type and number of messages, for errors."""
        words = [f"{n} ({t.type}, {t.count})" for n, t in self.topics.items()]
        there = ", ".join(words) or "no topics"
        return there + (f"; it is damaged: {self.damage}" if self.damage else "")

    def _set_damage(self, file: StorageFile, words: str) -> None:
        named = words if file.path.name in words else f"{file.path.name}: {words}"
        if named not in self.damage:
            self.damage = "; ".join(filter(None, (self.damage, named)))

    def _topics(self) -> dict[str, RecordedTopic]:
        """By name; where a name has several types, the one with the most messages."""
        found: dict[tuple[str, str], StoredTopic] = {}
        for file in self._files:
            if file.damage:
                self._set_damage(file, file.damage)
            for key, stored in file.topics.items():
                known = found.setdefault(key, StoredTopic(0, stored.encoding, stored.definition))
                known.count += stored.count
        topics: dict[str, RecordedTopic] = {}
        several = Counter(name for name, _ in found)
        for (name, kind), stored in sorted(found.items(), key=lambda item: -item[1].count):
            if name not in topics:
                topics[name] = RecordedTopic(kind, stored.count, stored.encoding, stored.definition)
            elif stored.count:
                self.notes.append(
                    f"{name} was recorded as {several[name]} types: its {stored.count} messages of "
                    f"{kind} are not used, those of {topics[name].type} are"
                )
        return dict(sorted(topics.items()))

    def _check(self, expected_messages: int | None) -> None:
        """Refuses what holds no message of ROS 2, and notices messages that have vanished."""
        encodings = {topic.encoding for topic in self.topics.values()}
        if encodings and CDR not in encodings:
            kinds = ", ".join(f"{n} ({t.type}, {t.encoding})" for n, t in self.topics.items())
            if _ROS1 in encodings:
                raise BagError(
                    f"{self.path}: {ros1_advice(Path('ORIGINAL.bag'))}, from the .bag file that it "
                    f"was made of; got {kinds}"
                )
            raise BagError(
                f"{self.path}: expected messages of ROS 2 (encoding cdr), got {kinds}; record the "
                "topics with ros2 bag record, or with flmm record"
            )
        if not self.topics and self.damage:
            raise BagError(
                f"{self.path}: expected a rosbag2 recording, got one of which nothing can be read: "
                f"{self.damage}"
            )
        there = sum(topic.count for topic in self.topics.values())
        if expected_messages is not None and there < expected_messages and not self.damage:
            self.damage = (
                f"metadata.yaml counts {expected_messages} messages, the files hold {there}"
            )
