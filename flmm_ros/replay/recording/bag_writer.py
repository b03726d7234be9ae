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

"""Writes serialized messages into an MCAP recording: by rosbag2_py on a robot, else by rosbags."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg

from flmm_ros.replay.recording.bag import BagError
from flmm_ros.replay.recording.message_types import message_types

_METADATA_VERSION = 9
# Names of types in Python's messages, and in .msg files.
_MSG_NAMES = {"boolean": "bool", "float": "float32", "double": "float64", "octet": "byte"}
_SEQUENCE = re.compile(r"sequence<(?P<item>.+?)(?:, (?P<most>\d+))?>")
_ARRAY = re.compile(r"(?P<item>.+)\[(?P<count>\d+)\]")


class BagWriter(Protocol):
    """An open recording to write into."""

    def add(self, topic: str, kind: str) -> None:
        """A topic, before its first message."""

    def write(self, topic: str, data: bytes, log_ns: int) -> None:
        """A serialized message and when it came."""

    def close(self) -> None:
        """Finishes the recording."""


def open_writer(folder: Path) -> BagWriter:
    """A new recording.

    Raises:
        BagError: there is something already.
    """
    if folder.exists():
        raise BagError(f"{folder}: expected a new folder, something is there; name another one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    return _Rosbag2PyWriter(folder) if find_spec("rosbag2_py") else _RosbagsWriter(folder)


def message_class(kind: str) -> Any:
    """The Python class of a type such as "sensor_msgs/msg/Image".

    Raises:
        BagError: its package is not installed here.
    """
    package, _, name = kind.rpartition("/")
    try:
        return getattr(import_module(package.replace("/", ".")), name)
    except (ImportError, AttributeError) as error:
        raise BagError(f"{kind}: expected its package installed here, got: {error}") from error


def message_definition(kind: str) -> str:
    """The type as a .msg text, with all types that it uses behind it."""
    texts: dict[str, str] = {}
    waiting = [kind]
    while waiting:
        name = waiting.pop(0)
        if name in texts:
            continue
        lines = []
        fields: dict[str, str] = message_class(name).get_fields_and_field_types()
        for field, described in fields.items():
            lines.append(f"{_msg_type(described)} {field}")
            if used := re.search(r"(\w+)/(\w+)", described):
                waiting.append(f"{used[1]}/msg/{used[2]}")
        texts[name] = "\n".join(lines) + "\n"
    rule = "=" * 80
    others = (f"{rule}\nMSG: {n.replace('/msg/', '/')}\n{t}" for n, t in texts.items() if n != kind)
    return texts[kind] + "".join(others)


def _msg_type(described: str) -> str:
    if found := _SEQUENCE.fullmatch(described):
        return f"{_msg_type(found['item'])}[{'<=' + found['most'] if found['most'] else ''}]"
    if found := _ARRAY.fullmatch(described):
        return f"{_msg_type(found['item'])}[{found['count']}]"
    return _MSG_NAMES.get(described, described.replace("string<", "string<=").rstrip(">"))


class _RosbagsWriter:
    """Where ROS comes without rosbag2."""

    def __init__(self, folder: Path) -> None:
        self._writer = Writer(folder, version=_METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._types = message_types()
        self._connections: dict[str, Any] = {}

    def add(self, topic: str, kind: str) -> None:
        if kind not in self._types.fielddefs:
            found = get_types_from_msg(message_definition(kind), kind)
            self._types.register({n: d for n, d in found.items() if n not in self._types.fielddefs})
        self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self._types)

    def write(self, topic: str, data: bytes, log_ns: int) -> None:
        self._writer.write(self._connections[topic], log_ns, data)

    def close(self) -> None:
        self._writer.close()


class _Rosbag2PyWriter:
    """rosbag2's own writer."""

    def __init__(self, folder: Path) -> None:
        self._rosbag2: Any = import_module("rosbag2_py")
        storage = self._rosbag2.StorageOptions(uri=str(folder), storage_id="mcap")
        self._writer = self._rosbag2.SequentialWriter()
        self._writer.open(storage, self._rosbag2.ConverterOptions("cdr", "cdr"))
        self._count = 0

    def add(self, topic: str, kind: str) -> None:
        about = {"name": topic, "type": kind, "serialization_format": "cdr"}
        try:
            metadata = self._rosbag2.TopicMetadata(id=self._count, **about)
        except TypeError:  # Humble numbers them itself
            metadata = self._rosbag2.TopicMetadata(**about)
        self._writer.create_topic(metadata)
        self._count += 1

    def write(self, topic: str, data: bytes, log_ns: int) -> None:
        self._writer.write(topic, data, log_ns)

    def close(self) -> None:
        del self._writer  # writes metadata.yaml
