"""The newest camera image, and nothing older: a slot of one.

A model looks at an image for longer than a camera takes to make the next one, so a queue would only
make answers late. The message is kept as it came and is decoded by whoever uses it.
Does not know about: models, commands, topics.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

from sensor_msgs.msg import CompressedImage, Image

ImageMsg: TypeAlias = Image | CompressedImage

_RATE_WINDOW_S = 5.0


@dataclass(frozen=True)
class Received:
    """An image message and when it came (monotonic seconds)."""

    msg: ImageMsg
    received_s: float

    def age_s(self, now_ns: int) -> float:
        """Seconds from the stamp to `now_ns` of the node's clock; from arrival where it is 0."""
        stamp = self.msg.header.stamp
        if stamp.sec == 0 and stamp.nanosec == 0:
            return time.monotonic() - self.received_s
        return (now_ns - (stamp.sec * 1_000_000_000 + stamp.nanosec)) / 1e9


class NewestImage:
    """A slot that holds the last image put into it. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._newest: Received | None = None
        self._arrivals_s: deque[float] = deque(maxlen=1000)
        self._count = self._replaced = self._forgotten = 0
        self._is_used = False

    def put(self, msg: ImageMsg) -> None:
        """Replaces what is there."""
        now_s = time.monotonic()
        with self._lock:
            self._replaced += self._newest is not None and not self._is_used
            self._newest, self._is_used = Received(msg, now_s), False
            self._arrivals_s.append(now_s)
            self._count += 1
            self._lock.notify_all()

    def get(self) -> Received | None:
        """The newest image, to look at; `use` is for those who ask about it."""
        with self._lock:
            return self._newest

    def wait_for_newer(self, than: Received | None, timeout_s: float) -> Received | None:
        """The newest image once it is another one than `than`; None where none comes in time."""
        with self._lock:
            is_there = self._lock.wait_for(
                lambda: self._newest is not None and self._newest is not than, timeout_s
            )
            return self._newest if is_there else None

    def use(self) -> Received | None:
        """The newest image; it stays in the slot, so that several commands can ask about it."""
        with self._lock:
            self._is_used = True
            return self._newest

    def clear(self) -> None:
        """Forgets the image, so that nothing from before a pause is used after it."""
        with self._lock:
            self._forgotten += self._newest is not None and not self._is_used
            self._newest = None
            self._arrivals_s.clear()

    @property
    def count(self) -> int:
        """Images received so far."""
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
        """Images per second over the last five seconds."""
        oldest_s = time.monotonic() - _RATE_WINDOW_S
        with self._lock:
            return sum(arrival >= oldest_s for arrival in self._arrivals_s) / _RATE_WINDOW_S
