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

"""Which message of another topic belongs to an image: the one nearest in time.

Stamps are compared. A driver that leaves them 0 gives none: then the times of recording are, and
messages that were recorded close to each other belong together.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

KEPT_NS = 1_000_000_000  # of recorded time: how long an image waits for what belongs to it
RECORDED_TOGETHER_NS = 50_000_000  # two messages of one moment, by the recorder's clock


@dataclass(frozen=True)
class Moment:
    """When a message is from. stamp_ns: its header's, 0 = none. log_ns: when it was recorded."""

    stamp_ns: int
    log_ns: int

    def is_stamped_like(self, other: Moment) -> bool:
        """Whether both have stamps, so that those can be compared."""
        return bool(self.stamp_ns and other.stamp_ns)

    def after_ns(self, other: Moment) -> int:
        """How much later it is than another one."""
        if self.is_stamped_like(other):
            return self.stamp_ns - other.stamp_ns
        return self.log_ns - other.log_ns


def moment_of(msg: Any, log_ns: int) -> Moment:
    """Of a message with a header."""
    stamp = msg.header.stamp
    return Moment(int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec), log_ns)


class TopicMatcher:
    """The newest messages of one topic, to be matched with images.

    tolerance_ns: how far one may be from its image. is_static: where none is so near, the last one
    before the image holds, as the calibration of a camera does.
    """

    def __init__(self, topic: str, tolerance_ns: int, *, is_static: bool = False) -> None:
        self.topic, self._tolerance_ns, self._is_static = topic, tolerance_ns, is_static
        self._kept: deque[tuple[Moment, Any]] = deque()

    def put(self, moment: Moment, content: Any) -> None:
        """A message that was recorded after all that were put before."""
        self._kept.append((moment, content))

    def is_settled(self, image: Moment) -> bool:
        """Whether no message can come any more that is nearer: one is from its time, or later."""
        return any(moment.after_ns(image) >= 0 for moment, _ in self._kept)

    def match(self, image: Moment) -> Any:
        """The message that belongs to an image, or None."""
        nearest = self._nearest(image)
        if nearest is None:
            return None
        moment, content = nearest
        if abs(moment.after_ns(image)) <= self._limit_ns(moment, image):
            return content
        before = [c for m, c in self._kept if m.after_ns(image) <= 0]
        return before[-1] if self._is_static and before else None

    def why_none(self, image: Moment) -> str:
        """What to tell a user who has to find out why nothing matched."""
        nearest = self._nearest(image)
        if nearest is None:
            return f"nothing came on {self.topic} within {KEPT_NS / 1e9:g} s of it"
        moment = nearest[0]
        off_ms, limit_ms = (
            value / 1e6 for value in (moment.after_ns(image), self._limit_ns(moment, image))
        )
        clock = "stamp" if moment.is_stamped_like(image) else "time of recording (a stamp is 0)"
        word = "later" if off_ms > 0 else "earlier"
        return (
            f"expected a message on {self.topic} within {limit_ms:g} ms of its {clock}, the "
            f"nearest is {abs(off_ms):g} ms {word}"
        )

    def forget(self, image: Moment) -> None:
        """Drops what is too old for the images that follow; of a static topic, all but the last."""
        least = 1 if self._is_static else 0
        while len(self._kept) > least and self._kept[0][0].after_ns(image) < -KEPT_NS:
            if self._is_static and self._kept[1][0].after_ns(image) > 0:
                return  # the first one still holds
            self._kept.popleft()

    def _nearest(self, image: Moment) -> tuple[Moment, Any] | None:
        return min(self._kept, key=lambda kept: abs(kept[0].after_ns(image)), default=None)

    def _limit_ns(self, moment: Moment, image: Moment) -> int:
        if moment.is_stamped_like(image):
            return self._tolerance_ns
        return max(self._tolerance_ns, RECORDED_TOGETHER_NS)
