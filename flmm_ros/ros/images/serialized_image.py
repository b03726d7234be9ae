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

"""Image messages as the middleware delivers them: read in place, without rclpy's two copies.

rclpy copies every pixel into a C message and from there into Python's array; at 1920x1080 that
takes longer than everything else the node does for a command. The fields of Image and
CompressedImage are plain CDR (OMG DDS-RTPS 2.5, section 10), read here up to the pixels, which stay
where they are. Other representations than plain CDR go through rclpy.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, cast

from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

_PLAIN_CDR = (0, 1)  # representation identifiers: big endian, little endian
_HEADER_BYTES = 4  # the representation identifier and options


@dataclass(frozen=True)
class RawFields:
    """The fields of sensor_msgs/Image; data is read-only."""

    header: Header
    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: memoryview


@dataclass(frozen=True)
class CompressedFields:
    """The fields of sensor_msgs/CompressedImage; data is read-only."""

    header: Header
    format: str
    data: memoryview


def image_from_bytes(data: bytes, kind: Any = Image) -> Image | CompressedImage:
    """The message in serialized bytes; kind: its type, Image or CompressedImage.

    What comes back has the fields of the message and may be a read-only view of `data`.
    """
    if len(data) < _HEADER_BYTES or data[0] != 0 or data[1] not in _PLAIN_CDR:
        return cast(Image, deserialize_message(data, kind))
    read = _Reader(data)
    fields: RawFields | CompressedFields
    if kind is CompressedImage:
        fields = CompressedFields(read.header(), read.text(), read.blob())
    else:
        fields = RawFields(
            header=read.header(),
            height=read.number(),
            width=read.number(),
            encoding=read.text(),
            is_bigendian=read.byte(),
            step=read.number(),
            data=read.blob(),
        )
    return cast(Image, fields)


def stamp_of_bytes(data: bytes) -> int:
    """Nanoseconds of the stamp of a serialized message that begins with a Header."""
    order = "<" if data[1] & 1 else ">"
    sec, nanosec = struct.unpack_from(f"{order}iI", data, _HEADER_BYTES)
    return int(sec) * 1_000_000_000 + int(nanosec)


class _Reader:
    """Reads CDR values one after another; numbers are aligned to their size."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, _HEADER_BYTES
        order = "<" if data[1] & 1 else ">"
        self._unsigned, self._signed = struct.Struct(f"{order}I"), struct.Struct(f"{order}i")

    def header(self) -> Header:
        """std_msgs/Header."""
        sec, nanosec = self._four_bytes(self._signed), self.number()
        return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=self.text())

    def number(self) -> int:
        """uint32."""
        return self._four_bytes(self._unsigned)

    def byte(self) -> int:
        """uint8."""
        self._at += 1
        return self._data[self._at - 1]

    def text(self) -> str:
        """A string, which ends with a zero byte."""
        return bytes(self.blob()).rstrip(b"\0").decode("utf-8", "replace")

    def blob(self) -> memoryview:
        """A sequence of bytes."""
        size = self.number()
        self._at += size
        return memoryview(self._data)[self._at - size : self._at]

    def _four_bytes(self, kind: struct.Struct) -> int:
        self._at += (_HEADER_BYTES - self._at) % 4
        self._at += 4
        return int(kind.unpack_from(self._data, self._at - 4)[0])
