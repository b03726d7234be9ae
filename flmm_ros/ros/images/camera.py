"""The cameras: subscribed to so that they just connect, also when one comes back differently, and
the newest image of each.

Does not know about: models, commands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.interface.endpoints import IMAGE
from flmm_ros.ros.interface.parameters import NodeConfig
from flmm_ros.ros.node.topic_publishers import PublisherFacts, publishers_of


@dataclass(frozen=True)
class Camera:
    """One camera that is listened to. `handle` is rclpy's subscription."""

    name: str
    topic: str  # absolute
    transport: str
    profile: QoSProfile
    is_auto: bool
    handle: Any

    def publishers(self, node: Node) -> tuple[PublisherFacts, ...]:
        """Who publishes the topic, and why it does not match where it does not."""
        return publishers_of(node, self.topic, self.transport, self.profile)

    def has_to_ask_anew(self, node: Node) -> bool:
        """The publishers offer something else than those that were there when it was asked for."""
        return self.is_auto and offers_other(node, self.topic, self.profile.reliability)


@dataclass(frozen=True)
class CameraFacts:
    """One camera at one moment, for diagnostics. Ages in seconds; None = no image yet.

    drops: images that no command was asked about, by reason.
    """

    topic: str
    publishers: tuple[PublisherFacts, ...] = ()
    received: int = 0
    rate_hz: float = 0.0
    age_s: float | None = None
    drops: Mapping[str, int] = field(default_factory=dict)


class Cameras:
    """All cameras of a node. Safe to use from several threads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()  # over the subscriptions
        self._heard: list[Camera] = []
        self._config = NodeConfig()
        self._newest = {"": NewestImage()}  # the main one has no name

    def __getitem__(self, name: str) -> NewestImage:
        """The newest image of a camera."""
        return self._newest[name]

    def open(self, config: NodeConfig) -> None:
        """Listens to every camera of the parameter `cameras`."""
        with self._lock:
            self._config = config
            self._newest = {name: NewestImage() for name in names_of(config.cameras)}
            self._heard = [self._subscribe(name) for name in self._newest]

    def close(self) -> None:
        """Listens no more, and forgets the images."""
        with self._lock:
            while self._heard:
                self._node.destroy_subscription(self._heard.pop().handle)
        self.forget()

    def forget(self) -> None:
        """The images are from before a pause, or of a time that is yet to come again."""
        for newest in self._newest.values():
            newest.clear()

    def hear_again(self) -> None:
        """A camera that came later, or came back with another QoS, is asked for what it offers."""
        with self._lock:
            for number, old in enumerate(self._heard):
                if old.has_to_ask_anew(self._node):
                    self._node.destroy_subscription(old.handle)
                    self._heard[number] = self._subscribe(old.name)

    def facts(self, now_ns: int) -> tuple[CameraFacts, ...]:
        """What there is to be said about each; `now_ns` of the node's clock."""
        with self._lock:
            heard = [(camera, camera.publishers(self._node)) for camera in self._heard]
        found = []
        for camera, publishers in heard:
            newest = self._newest[camera.name]
            received = newest.get()
            age_s = None if received is None else received.age_s(now_ns)
            found.append(
                CameraFacts(
                    topic=camera.topic,
                    publishers=publishers,
                    received=newest.count,
                    rate_hz=newest.rate_hz,
                    age_s=age_s,
                    drops=newest.drops,
                )
            )
        return tuple(found)

    def _subscribe(self, name: str) -> Camera:
        group = MutuallyExclusiveCallbackGroup()
        return subscribe(self._node, self._config, self._newest[name].put, group, name)


def subscribe(
    node: Node,
    config: NodeConfig,
    callback: Callable[[Any], None],
    group: CallbackGroup,
    name: str = "",
) -> Camera:
    """Subscribes to the relative topic `image`, or `NAME/image` of a further camera, raw or
    compressed as the parameters say."""
    topic = topic_of(name)
    absolute = node.resolve_topic_name(topic)
    message_type = CompressedImage if config.image_transport == "compressed" else IMAGE.type
    reliability = reliability_of(node, config.image_qos, absolute)
    profile = QoSProfile(depth=IMAGE.depth, reliability=reliability)
    node.get_logger().info(
        f"listening to {absolute} ({message_type.__name__}, "
        f"{'reliable' if reliability is ReliabilityPolicy.RELIABLE else 'best effort'})"
    )
    handle = node.create_subscription(message_type, topic, callback, profile, callback_group=group)
    is_auto = config.image_qos == "auto"
    return Camera(name, absolute, config.image_transport, profile, is_auto, handle)


def topic_of(name: str) -> str:
    """The image topic of a camera; of the main one, which has no name, `image`."""
    return f"{name}/{IMAGE.name}" if name else IMAGE.name


def names_of(cameras: str) -> tuple[str, ...]:
    """All cameras of the parameter `cameras`, the main one, which has no name, first."""
    further = dict.fromkeys(name.strip() for name in cameras.split(",") if name.strip())
    return ("", *further)


def reliability_of(node: Node, choice: str, topic: str) -> ReliabilityPolicy:
    """Best effort receives from every publisher; reliable loses no part of a large image.

    topic: absolute. `auto` is reliable only where every publisher is, and so never refuses one
    that is there.
    """
    if choice == "sensor_data":
        return ReliabilityPolicy.BEST_EFFORT
    if choice == "reliable":
        return ReliabilityPolicy.RELIABLE
    return _fitting(_offered(node, topic))


def offers_other(node: Node, topic: str, asked: ReliabilityPolicy) -> bool:
    """Whether `auto` would now ask for another reliability; not where nobody publishes."""
    offered = _offered(node, topic)
    return bool(offered) and _fitting(offered) is not asked


def _fitting(offered: set[ReliabilityPolicy]) -> ReliabilityPolicy:
    """The most that every publisher offers."""
    is_reliable = offered == {ReliabilityPolicy.RELIABLE}
    return ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT


def _offered(node: Node, topic: str) -> set[ReliabilityPolicy]:
    return {info.qos_profile.reliability for info in node.get_publishers_info_by_topic(topic)}
