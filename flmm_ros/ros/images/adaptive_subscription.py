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

"""A subscription that asks for what all its publishers offer, and takes messages only when asked.

Reliability: best effort receives from every publisher; reliable loses no part of a large image. The
parameter `image_qos` chooses one of them, or `auto`: reliable while every publisher is.

Messages wait in the middleware, which keeps the newest `depth` of them and drops older ones by
itself. Each message that Python takes is copied twice and wakes the executor, so a camera that runs
while nobody asks would use a good part of a core. `take` fetches what waits; while `is_wanted` says
so, the executor fetches every message as it comes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from flmm_ros.ros.node.topic_publishers import PublisherFacts, publishers_of

_FIXED = {
    "sensor_data": ReliabilityPolicy.BEST_EFFORT,
    "reliable": ReliabilityPolicy.RELIABLE,
}
_DAY_S = 86400.0


@dataclass(frozen=True)
class Arrival:
    """When a message came (monotonic seconds), and how many its publisher had sent by then; None
    where the middleware does not say."""

    at_s: float
    number: int | None = None
    publisher: str = ""


class AdaptiveSubscription:
    """One topic that is listened to. Safe to use from several threads.

    Args:
        kind: the message type. topic: relative or absolute. depth: of the history.
        on_message: gets the serialized bytes of each message that is taken, and its arrival.
        qos: auto, sensor_data or reliable, as the parameter `image_qos`.
        is_wanted: asked before the executor waits; while true, it takes every message.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        topic: str,
        on_message: Callable[[bytes, Arrival], None],
        *,
        depth: int,
        qos: str = "auto",
        is_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._node, self._kind, self._on_message = node, kind, on_message
        self._name, self.topic = topic, node.resolve_topic_name(topic)  # given, absolute
        self._depth, self._qos, self._is_wanted = depth, qos, is_wanted
        self._lock = threading.RLock()  # over the handle
        self._handle: Any = None
        self._subscribe(_FIXED.get(qos) or _common(self._offered()))

    @property
    def reliability(self) -> ReliabilityPolicy:
        """What is asked for now."""
        return self.profile.reliability

    def publishers(self, transport: str) -> tuple[PublisherFacts, ...]:
        """Who publishes the topic, and why it does not match where it does not."""
        return publishers_of(self._node, self.topic, transport, self.profile)

    @property
    def has_publisher(self) -> bool:
        """Somebody publishes the topic, matching or not."""
        return bool(self._offered())

    def take(self) -> None:
        """Hands over what waits, the oldest first."""
        with self._lock:
            for _ in range(self._depth + 1):  # more may come meanwhile; never for ever
                taken = self._take_one()
                if taken is None:
                    return
                self._on_message(*taken)

    def wake(self) -> None:
        """`is_wanted` has become true: the executor looks again."""
        if self._node.executor is not None:
            self._node.executor.wake()

    def adapt(self) -> None:
        """Subscribes anew where `auto` would now ask for something else; not while nobody
        publishes."""
        offered = self._offered()
        with self._lock:
            if self._qos == "auto" and offered and _common(offered) is not self.reliability:
                self.take()  # what waits would go with the old subscription
                self.destroy()
                self._subscribe(_common(offered))

    def destroy(self) -> None:
        """Listens no more."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            self._node.destroy_subscription(handle)

    def _take_one(self) -> tuple[bytes, Arrival] | None:
        if self._handle is None:
            return None
        reader = self._handle.handle
        with reader:  # what rclpy's executors do to take a message
            taken = reader.take_message(self._kind, True)
            if taken is None:
                return None
            is_alone = reader.get_publisher_count() <= 1
        data, info = taken
        return bytes(data), _arrival(info, is_alone=is_alone)

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        self.profile = QoSProfile(depth=self._depth, reliability=reliability)
        self._handle = self._node.create_subscription(
            self._kind,
            self._name,
            lambda data: self._on_message(data, Arrival(time.monotonic())),
            self.profile,
            callback_group=_WhileWanted(self._is_wanted),
            raw=True,
        )
        self._node.get_logger().info(
            f"listening to {self.topic} ({self._kind.__name__}, "
            f"{reliability.name.lower().replace('_', ' ')})"
        )

    def _offered(self) -> set[ReliabilityPolicy]:
        infos = self._node.get_publishers_info_by_topic(self.topic)
        return {info.qos_profile.reliability for info in infos}


class _WhileWanted(MutuallyExclusiveCallbackGroup):
    """The executor neither waits for nor takes these messages while nobody wants them."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        super().__init__()
        self._is_wanted = is_wanted

    def can_execute(self, entity: Any) -> bool:
        return self._is_wanted() and super().can_execute(entity)


def _arrival(info: Any, *, is_alone: bool) -> Arrival:
    """From rclpy's message info, a dictionary whose keys differ between distributions. is_alone:
    one publisher; a count without its publisher's name then belongs to that one."""
    now_s, now_ns = time.monotonic(), time.time_ns()
    waited_s = (now_ns - int(info.get("received_timestamp") or now_ns)) / 1e9
    at_s = now_s - waited_s if 0 <= waited_s < _DAY_S else now_s  # 0: the middleware does not say
    gid = info.get("publisher_gid")
    number = info.get("publication_sequence_number") if gid or is_alone else None
    return Arrival(at_s, number, str(gid or ""))


def _common(offered: set[ReliabilityPolicy]) -> ReliabilityPolicy:
    """The most that every publisher offers."""
    is_reliable = offered == {ReliabilityPolicy.RELIABLE}
    return ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
