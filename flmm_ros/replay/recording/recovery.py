"""Reads what is left of a recording that was not finished or lost its end.

A robot that crashed leaves the recording that matters most: without metadata.yaml, without the
index at the end of the file, or cut in the middle of a message. Here files are read from their
beginning to the first fault.
Does not know about: what the messages hold.
"""

from __future__ import annotations

import io
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import zstandard

Stored = tuple[str, str, int, bytes]  # topic, type, time of recording in ns, CDR bytes

MCAP_MAGIC = b"\x89MCAP0\r\n"
SQLITE_MAGIC = b"SQLite format 3\x00"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 1, 2, 3, 4, 5, 6, 15
# What broken bytes make readers raise.
_BROKEN = (ValueError, KeyError, TypeError, struct.error, RuntimeError, zstandard.ZstdError)
_MAX_RECORD_BYTES = 1 << 31  # a longer one is a broken length, and would ask for all memory


class Damage(Exception):
    """The first fault in a file; what was read before it is good."""


def salvage(path: Path, scratch: Path) -> Iterator[Stored]:
    """Everything up to the first fault, in the order of the file.

    scratch: an empty folder for what has to be unpacked first.

    Raises:
        Damage: at the fault, after the last good message. A file without one just ends.
    """
    if path.suffix == ".zstd":
        path = _unpacked(path, scratch)
    with path.open("rb") as stream:
        start = stream.read(len(SQLITE_MAGIC))
    if start.startswith(MCAP_MAGIC):
        yield from _from_mcap(path)
    elif start == SQLITE_MAGIC:
        yield from _from_sqlite(path)
    else:
        raise Damage(f"{path.name} is neither MCAP nor SQLite")


def _unpacked(path: Path, scratch: Path) -> Path:
    """A storage file that was compressed as a whole; of a truncated one, its beginning."""
    plain = scratch / path.stem
    with path.open("rb") as packed, plain.open("wb") as out:
        reader = zstandard.ZstdDecompressor().stream_reader(packed)
        try:
            while block := reader.read(1 << 20):
                out.write(block)
        except zstandard.ZstdError as error:
            if not out.tell():
                raise Damage(f"{path.name} cannot be decompressed: {error}") from error
    return plain


def _from_mcap(path: Path) -> Iterator[Stored]:
    channels: dict[int, tuple[str, str]] = {}
    schemas: dict[int, str] = {}
    with path.open("rb") as stream:
        stream.seek(len(MCAP_MAGIC))
        while True:
            at = stream.tell()
            try:
                record = _record(stream)
                found = list(_messages(*record, schemas, channels))
            except _Truncated as error:
                yield from _beginning(error, schemas, channels)
                raise Damage(f"{path.name}, byte {at}: {error}") from error
            except _BROKEN as error:
                raise Damage(f"{path.name}, byte {at}: {error}") from error
            yield from found
            if record[0] in (_DATA_END, _FOOTER):
                return


class _Truncated(Exception):
    """The file ends inside a record; what there is of it."""

    def __init__(self, kind: int = 0, content: bytes = b"") -> None:
        super().__init__("the file ends without an end record: it was cut off, or not closed")
        self.kind, self.content = kind, content


def _record(stream: BinaryIO) -> tuple[int, bytes]:
    """Kind and content of the next record.

    Raises:
        _Truncated: there is no whole one.
    """
    head = stream.read(9)
    if len(head) < 9:
        raise _Truncated
    kind, length = struct.unpack("<BQ", head)
    if length > _MAX_RECORD_BYTES:
        raise ValueError(f"a record of {length} bytes")
    content = stream.read(length)
    if len(content) < length:
        raise _Truncated(kind, content)
    return kind, content


def _messages(
    kind: int, content: bytes, schemas: dict[int, str], channels: dict[int, tuple[str, str]]
) -> Iterator[Stored]:
    """The messages of one record, by time; schemas and channels are remembered."""
    if kind == _SCHEMA:
        schemas[struct.unpack_from("<H", content)[0]] = _text(content, 2)[0]
    elif kind == _CHANNEL:
        number, schema = struct.unpack_from("<HH", content)
        channels[number] = (_text(content, 4)[0], schemas[schema])
    elif kind == _MESSAGE:
        number, _, time_ns, _ = struct.unpack_from("<HIQQ", content)
        yield (*channels[number], time_ns, _plain(content[22:]))
    elif kind == _CHUNK:
        yield from _inside(_chunk(content), schemas, channels)


def _inside(
    records: bytes, schemas: dict[int, str], channels: dict[int, tuple[str, str]]
) -> list[Stored]:
    """The messages in the records of a chunk, by time; those of a cut one as far as it goes."""
    stream, found = io.BytesIO(records), list[Stored]()
    try:
        while stream.tell() < len(records):
            found += _messages(*_record(stream), schemas, channels)
    except _Truncated:
        pass  # whoever cut it off reports that
    return sorted(found, key=lambda stored: stored[2])


def _beginning(
    cut: _Truncated, schemas: dict[int, str], channels: dict[int, tuple[str, str]]
) -> list[Stored]:
    """The messages at the beginning of a chunk that was cut off; none of any other record."""
    if cut.kind != _CHUNK:
        return []
    try:
        return _inside(_chunk(cut.content), schemas, channels)
    except _BROKEN:
        return []  # the cut itself is reported


def _text(content: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", content, at)
    return content[at + 4 : at + 4 + length].decode(), at + 4 + length


def _chunk(content: bytes) -> bytes:
    """The records in a chunk: start, end, size, checksum, compression, length, data. Of one that
    was cut off, as many as there are."""
    compression, at = _text(content, 28)
    packed = content[at + 8 :]
    if compression == "zstd":
        return _from_zstd(packed)
    if compression == "lz4":
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed))
    if compression:
        raise ValueError(f"chunks compressed with {compression!r}, expected zstd or lz4")
    return packed


def _from_zstd(packed: bytes) -> bytes:
    """In a stream: a size that a broken header claims is not believed."""
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)


def _from_sqlite(path: Path) -> Iterator[Stored]:
    wal = Path(f"{path}-wal")
    # With a log beside it, the newest messages are in there: SQLite has to read both.
    address = f"file:{path}?mode=ro" + ("" if wal.exists() else "&immutable=1")
    connection = sqlite3.connect(address, uri=True)
    try:
        # Without this, SQLite refuses a file that is shorter than its header says.
        connection.execute("PRAGMA writable_schema=ON")
        topics = {
            number: (name, kind)
            for number, name, kind in connection.execute("SELECT id, name, type FROM topics")
        }
        # Not by time: that would need the index, which is at the end of the file.
        rows = connection.execute("SELECT topic_id, timestamp, data FROM messages NOT INDEXED")
        for number, time_ns, data in rows:
            yield (*topics[number], time_ns, _plain(data))
    except (sqlite3.Error, *_BROKEN) as error:
        raise Damage(f"{path.name}: {error}") from error
    finally:
        connection.close()


def _plain(data: bytes) -> bytes:
    """A message that was compressed by itself. CDR never begins like zstd."""
    return _from_zstd(data) if data.startswith(ZSTD_MAGIC) else data
