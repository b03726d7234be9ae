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

"""The newest camera image, and nothing older: a slot of one.

A model looks at an image for longer than a camera takes to make the next one, so a queue would only
make answers late. The image is fetched from the middleware when somebody looks, and is decoded by
whoever uses it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from sensor_msgs.msg import CompressedImage, Image

from flmm_ros.ros.images.adaptive_subscription import Arrival
from flmm_ros.ros.images.serialized_image import image_from_bytes, stamp_of_bytes

ImageMsg: TypeAlias = Image | CompressedImage

_RATE_WINDOW_S = 5.0
_LOOK_S = 0.005  # how often a waiting thread asks the middleware


@dataclass(frozen=True)
class Received:
    """An image and when it came (monotonic seconds). stamp_ns: of its header."""

    load: Callable[[], ImageMsg]
    stamp_ns: int
    received_s: float

    @cached_property
    def msg(self) -> ImageMsg:
        """The message; read only when somebody needs it."""
        return self.load()

    def age_s(self, now_ns: int) -> float:
        """Seconds from the stamp to `now_ns` of the node's clock; from arrival where it is 0."""
        if self.stamp_ns == 0:
            return time.monotonic() - self.received_s
        return (now_ns - self.stamp_ns) / 1e9


class NewestImage:
    """A slot that holds the last image of a camera. Safe to use from several threads.

    kind: sensor_msgs Image or CompressedImage, for serialized messages.
    """

    def __init__(self, kind: Any = Image) -> None:
        self._kind = kind
        self._lock = threading.Condition()
        self._fetch: Callable[[], None] | None = None
        self._newest: Received | None = None
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=1000)  # when, how many
        self._numbers: dict[str, int] = {}  # the last message's, by publisher
        self._count = self._replaced = self._forgotten = 0
        self._is_used = self._is_counting = False

    def fetch_with(self, fetch: Callable[[], None] | None) -> None:
        """fetch: puts what waits in the middleware; called whenever somebody looks."""
        self._fetch = fetch

    def put(self, msg: ImageMsg) -> None:
        """Replaces what is there."""
        stamp = getattr(getattr(msg, "header", None), "stamp", None)
        stamp_ns = 0 if stamp is None else stamp.sec * 1_000_000_000 + stamp.nanosec
        self._replace(Received(lambda: msg, stamp_ns, time.monotonic()), 1)

    def put_serialized(self, data: bytes, arrival: Arrival) -> None:
        """The same for the bytes of a message."""
        received = Received(
            lambda: image_from_bytes(data, self._kind), stamp_of_bytes(data), arrival.at_s
        )
        self._replace(received, self._sent_since(arrival))

    def _replace(self, received: Received, count: int) -> None:
        """count: images that came since the last one that was put, this one included."""
        with self._lock:
            self._replaced += count - 1 + (self._newest is not None and not self._is_used)
            self._newest, self._is_used = received, False
            self._arrivals.append((received.received_s, count))
            self._count += count
            self._lock.notify_all()

    def _sent_since(self, arrival: Arrival) -> int:
        """Messages of this publisher since the last one that was taken from it."""
        with self._lock:
            self._is_counting = arrival.number is not None
            if arrival.number is None:
                return 1
            last = self._numbers.get(arrival.publisher, arrival.number - 1)
            self._numbers[arrival.publisher] = arrival.number
            return max(1, arrival.number - last)  # one that was started again begins at 1

    def _look(self) -> None:
        if self._fetch is not None:
            self._fetch()

    def get(self) -> Received | None:
        """The newest image, to look at; `use` is for those who ask about it."""
        self._look()
        with self._lock:
            return self._newest

    def wait_for_newer(self, than: Received | None, timeout_s: float) -> Received | None:
        """The newest image once it is another one than `than`; None where none comes in time."""
        end_s = time.monotonic() + timeout_s
        while True:
            self._look()
            with self._lock:
                if self._newest is not None and self._newest is not than:
                    return self._newest
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    return None
                self._lock.wait(left_s if self._fetch is None else min(left_s, _LOOK_S))

    def use(self) -> Received | None:
        """The newest image; it stays in the slot, so that several commands can ask about it."""
        self._look()
        with self._lock:
            self._is_used = True
            return self._newest

    def clear(self) -> None:
        """Forgets the image, so that nothing from before a pause is used after it."""
        self._look()  # what waits in the middleware is as old
        with self._lock:
            self._forgotten += self._newest is not None and not self._is_used
            self._newest = None
            self._arrivals.clear()

    @property
    def count(self) -> int:
        """Images so far, by their publisher's own count where the middleware passes it on."""
        self._look()
        with self._lock:
            return self._count

    @property
    def drops(self) -> dict[str, int]:
        """Images that no command was asked about, by reason: a newer one came before, or it was
        forgotten in a pause or because the clock jumped back."""
        with self._lock:
            return {"replaced by a newer one": self._replaced, "forgotten": self._forgotten}

    @property
    def rate_hz(self) -> float:
        """Images per second over the last five seconds. NaN where the middleware does not count
        (ROS 2 Humble): then only images that somebody looked at are known."""
        oldest_s = time.monotonic() - _RATE_WINDOW_S
        with self._lock:
            if self._fetch is not None and self._count and not self._is_counting:
                return math.nan
            return sum(n for at_s, n in self._arrivals if at_s >= oldest_s) / _RATE_WINDOW_S
