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

"""Reads a SQLite file of rosbag2 from its beginning to its first fault, with its log (WAL)."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import zstandard

from flmm_ros.replay.recording.stored_message import Damage, StoredMessage, unpacked_message

SQLITE_MAGIC = b"SQLite format 3\x00"
_BROKEN = (
    sqlite3.Error,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    struct.error,
    zstandard.ZstdError,
)


def log_beside(path: Path) -> Path:
    """The write-ahead log of a database: where it exists, the newest messages are in there."""
    return Path(f"{path}-wal")


def messages_of_sqlite(path: Path) -> Iterator[StoredMessage]:
    """Every message before the first fault, in the order in which they were written.

    Raises:
        Damage: at the fault, after the last good message. A whole file just ends.
    """
    address = f"file:{path}?mode=ro" + ("" if log_beside(path).exists() else "&immutable=1")
    connection = sqlite3.connect(address, uri=True)
    try:
        # Without this, SQLite refuses a file that is shorter than its header says.
        connection.execute("PRAGMA writable_schema=ON")
        topics = {
            number: (name, kind, encoding)
            for number, name, kind, encoding in connection.execute(
                "SELECT id, name, type, serialization_format FROM topics"
            )
        }
        # Not by time: that would need the index, which is at the end of the file.
        rows = connection.execute("SELECT topic_id, timestamp, data FROM messages NOT INDEXED")
        for number, time_ns, data in rows:
            yield StoredMessage(*topics[number], time_ns, unpacked_message(data))
    except _BROKEN as error:
        raise Damage(str(error) or type(error).__name__) from error
    finally:
        connection.close()
