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

"""Pictures and point clouds that pages fetch later, in memory and never more than a given size.

A page gets an address with an identity that cannot be guessed; nothing is read from a disk. The
oldest go first."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

MAX_BYTES = 128 * 1024 * 1024
_IDENTITY_BYTES = 16


@dataclass(frozen=True)
class Stored:
    """The bytes and their media type."""

    data: bytes
    media_type: str


class PictureStore:
    """Bytes by identity, bounded. Used by one thread."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes, self._size_bytes = max_bytes, 0
        self._stored: OrderedDict[str, Stored] = OrderedDict()

    def put(self, data: bytes, media_type: str) -> str:
        """Keeps the bytes and returns their identity; what is too old makes room."""
        identity = secrets.token_urlsafe(_IDENTITY_BYTES)
        self._stored[identity] = Stored(data, media_type)
        self._size_bytes += len(data)
        while self._size_bytes > self._max_bytes and len(self._stored) > 1:
            self._size_bytes -= len(self._stored.popitem(last=False)[1].data)
        return identity

    def get(self, identity: str) -> Stored | None:
        """What is kept under an identity; None where it has gone, or never was."""
        return self._stored.get(identity)

    @property
    def size_bytes(self) -> int:
        """Of everything that is kept."""
        return self._size_bytes
