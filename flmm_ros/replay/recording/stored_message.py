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

"""A message as a storage file holds it, and the fault that a damaged file has."""

from __future__ import annotations

from typing import NamedTuple

import zstandard

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Damage(Exception):
    """The first fault in a file; what was read before it is good."""


class StoredMessage(NamedTuple):
    """encoding: how `data` is written, "cdr" in ROS 2. log_ns: when it was recorded."""

    topic: str
    type: str
    encoding: str
    log_ns: int
    data: bytes


def unpacked_message(data: bytes) -> bytes:
    """A message that was compressed by itself. CDR never begins like zstd."""
    return unpacked_beginning(data) if data.startswith(ZSTD_MAGIC) else data


def unpacked_beginning(packed: bytes) -> bytes:
    """zstd data, in a stream: of a cut one what there is, and no claimed size is believed."""
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)
