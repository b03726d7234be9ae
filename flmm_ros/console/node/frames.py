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

"""The camera's newest images: the live picture, and the very image that an answer is about.

A console sees the same images as the node, but the node says only with the answer which of them it
used. So the last few are kept, and those around the moment when a command's work began are held
for that command. Images are kept as messages and are decoded by whoever shows them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from std_msgs.msg import Header

from flmm_ros.ros.images.newest_image import ImageMsg

MAX_BYTES = 64 * 1024 * 1024
MAX_COUNT = 60
_RATE_WINDOW_S = 3.0


@dataclass(frozen=True)
class Frame:
    """An image message, when it came (monotonic seconds) and its number."""

    msg: ImageMsg
    received_s: float
    number: int


class Frames:
    """The last images of one camera, bounded in number and bytes. Safe to use from threads."""

    def __init__(self, max_count: int = MAX_COUNT, max_bytes: int = MAX_BYTES) -> None:
        self._lock = threading.Lock()
        self._max_count, self._max_bytes = max_count, max_bytes
        self._frames: deque[Frame] = deque()
        self._arrivals_s: deque[float] = deque(maxlen=1000)
        self._size_bytes = 0
        self._count = 0

    def put(self, msg: ImageMsg) -> None:
        """Keeps an image; the oldest make room."""
        now_s = time.monotonic()
        with self._lock:
            self._count += 1
            self._arrivals_s.append(now_s)
            self._frames.append(Frame(msg, now_s, self._count))
            self._size_bytes += len(msg.data)
            while len(self._frames) > 1 and self._is_too_much():
                self._size_bytes -= len(self._frames.popleft().msg.data)

    def _is_too_much(self) -> bool:
        return len(self._frames) > self._max_count or self._size_bytes > self._max_bytes

    def newest(self) -> Frame | None:
        """The last image that came."""
        with self._lock:
            return self._frames[-1] if self._frames else None

    def held(self) -> tuple[Frame, ...]:
        """All that are kept now; who holds the result keeps them longer."""
        with self._lock:
            return tuple(self._frames)

    def clear(self) -> None:
        """Forgets all: the camera is no longer watched."""
        with self._lock:
            self._frames.clear()
            self._arrivals_s.clear()
            self._size_bytes = 0

    @property
    def rate_hz(self) -> float:
        """Images per second over the last three seconds."""
        since_s = time.monotonic() - _RATE_WINDOW_S
        with self._lock:
            return sum(arrival >= since_s for arrival in self._arrivals_s) / _RATE_WINDOW_S


def find(frames: Iterable[Frame], header: Header) -> ImageMsg | None:
    """The image with exactly this header; of several (a camera without a clock) the last."""
    for frame in reversed(tuple(frames)):
        if frame.msg.header == header:
            return frame.msg
    return None
