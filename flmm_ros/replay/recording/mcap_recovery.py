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

"""Reads an MCAP file from its beginning to its first fault, with or without an index.

The `mcap` package reads the records. Two things are done here, because it does neither: the
beginning of a chunk that was cut off is unpacked as far as it goes, where the package drops the
whole chunk, and a length that a broken file claims is never allocated.
"""

from __future__ import annotations

import io
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile, McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, DataEnd, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader

from flmm_ros.replay.recording.stored_message import (
    Damage,
    StoredMessage,
    unpacked_beginning,
    unpacked_message,
)

MCAP_MAGIC = b"\x89MCAP0\r\n"
_RECORD_HEADER_BYTES = 9  # kind of record, length
_LONGEST_CHUNK_BYTES = 1 << 31  # a longer one is a broken length
_CHUNK_TIMES_BYTES = 28  # what stands in a chunk before the name of its compression
# What broken bytes make the package raise.
_BROKEN = (
    McapError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    RuntimeError,
    zstandard.ZstdError,
)


def messages_of_mcap(path: Path) -> Iterator[StoredMessage]:
    """Every message before the first fault, in the order of the file; within a chunk, by time.

    Raises:
        Damage: at the fault, after the last good message. A whole file just ends.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        known = _Channels()
        stream = cast("IO[bytes]", content)  # it has what the reader uses: read
        # No limit of its own: no read goes beyond the end of a mapped file.
        records = StreamReader(stream, emit_chunks=True, record_size_limit=None).records
        at = len(MCAP_MAGIC)
        while True:
            try:
                record = next(records)
                found = known.messages_in(record)
            except (EndOfFile, StopIteration) as error:
                yield from known.beginning_of_chunk(content[at : at + _LONGEST_CHUNK_BYTES])
                raise Damage(
                    f"byte {at}: the file ends without an end record: it was cut off, or not closed"
                ) from error
            except _BROKEN as error:
                raise Damage(f"byte {at}: {error or type(error).__name__}") from error
            yield from found
            if isinstance(record, DataEnd):
                return
            at = content.tell()


@dataclass
class _Channels:
    """The channels and schemas that have been read so far, by their numbers."""

    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)

    def messages_in(self, record: McapRecord) -> list[StoredMessage]:
        """The messages of one record; a schema or a channel is remembered."""
        if isinstance(record, Chunk):
            return self._inside(_unpacked(record.compression, record.data))
        if isinstance(record, Schema):
            self.schemas[record.id] = record
        elif isinstance(record, Channel):
            self.channels[record.id] = record
        elif isinstance(record, Message):
            channel = self.channels[record.channel_id]
            schema = self.schemas.get(channel.schema_id)
            return [
                StoredMessage(
                    channel.topic,
                    schema.name if schema else "",
                    channel.message_encoding,
                    record.log_time,
                    unpacked_message(record.data),
                )
            ]
        return []

    def beginning_of_chunk(self, rest: bytes) -> list[StoredMessage]:
        """The messages in a chunk that the file ends in; none where it ends in another record."""
        if len(rest) < _RECORD_HEADER_BYTES or rest[0] != Opcode.CHUNK:
            return []
        stream = ReadDataStream(io.BytesIO(rest[_RECORD_HEADER_BYTES + _CHUNK_TIMES_BYTES :]))
        try:
            compression = stream.read_prefixed_string()
            stream.read8()  # the length that the data should have
            return self._inside(_unpacked(compression, stream.read(len(rest))))
        except _BROKEN:
            return []  # the cut itself is reported

    def _inside(self, records: bytes) -> list[StoredMessage]:
        """The messages in the records of a chunk, by time; of a cut one as far as it goes."""
        found: list[StoredMessage] = []
        stream = io.BytesIO(records)
        reader = StreamReader(stream, skip_magic=True, record_size_limit=len(records))
        try:
            for record in reader.records:
                found += self.messages_in(record)
        except EndOfFile:
            pass  # of a whole chunk the regular end; whoever cut one off reports that
        return sorted(found, key=lambda message: message.log_ns)


def _unpacked(compression: str, packed: bytes) -> bytes:
    """The records in a chunk; of one that was cut off, as many as there are."""
    if compression == "zstd":
        return unpacked_beginning(packed)
    if compression == "lz4":
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed))
    if compression:
        raise ValueError(f"chunks compressed with {compression!r}, expected zstd or lz4")
    return packed
