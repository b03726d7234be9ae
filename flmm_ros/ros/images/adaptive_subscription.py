"""A subscription that asks for what all its publishers offer, and follows them when they change.

Best effort receives from every publisher; reliable loses no part of a large image. The parameter
`image_qos` chooses one of them, or `auto`: reliable while every publisher is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from flmm_ros.ros.node.topic_publishers import PublisherFacts, publishers_of

_FIXED = {
    "sensor_data": ReliabilityPolicy.BEST_EFFORT,
    "reliable": ReliabilityPolicy.RELIABLE,
}


class AdaptiveSubscription:
    """One topic that is listened to.

    Args:
        kind: the message type. topic: relative or absolute. depth: of the history.
        qos: auto, sensor_data or reliable, as the parameter `image_qos`.
        is_raw: the callback gets serialized bytes.
    """

    def __init__(
        self,
        node: Node,
        kind: Any,
        topic: str,
        callback: Callable[[Any], None],
        *,
        depth: int,
        qos: str = "auto",
        is_raw: bool = False,
    ) -> None:
        self._node, self._kind, self._callback, self._is_raw = node, kind, callback, is_raw
        self._name, self.topic = topic, node.resolve_topic_name(topic)  # given, absolute
        self._depth, self._qos = depth, qos
        self._subscribe(_FIXED.get(qos) or _common(self._offered()))

    @property
    def reliability(self) -> ReliabilityPolicy:
        """What is asked for now."""
        return self.profile.reliability

    def publishers(self, transport: str) -> tuple[PublisherFacts, ...]:
        """Who publishes the topic, and why it does not match where it does not."""
        return publishers_of(self._node, self.topic, transport, self.profile)

    def adapt(self) -> None:
        """Subscribes anew where `auto` would now ask for something else; not while nobody
        publishes."""
        offered = self._offered()
        if self._qos == "auto" and offered and _common(offered) is not self.reliability:
            self.destroy()
            self._subscribe(_common(offered))

    def destroy(self) -> None:
        """Listens no more."""
        self._node.destroy_subscription(self._handle)

    def _subscribe(self, reliability: ReliabilityPolicy) -> None:
        self.profile = QoSProfile(depth=self._depth, reliability=reliability)
        self._handle = self._node.create_subscription(
            self._kind,
            self._name,
            self._callback,
            self.profile,
            callback_group=MutuallyExclusiveCallbackGroup(),
            raw=self._is_raw,
        )
        self._node.get_logger().info(
            f"listening to {self.topic} ({self._kind.__name__}, "
            f"{reliability.name.lower().replace('_', ' ')})"
        )

    def _offered(self) -> set[ReliabilityPolicy]:
        infos = self._node.get_publishers_info_by_topic(self.topic)
        return {info.qos_profile.reliability for info in infos}


def _common(offered: set[ReliabilityPolicy]) -> ReliabilityPolicy:
    """The most that every publisher offers."""
    is_reliable = offered == {ReliabilityPolicy.RELIABLE}
    return ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
