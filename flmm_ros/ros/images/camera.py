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

"""The cameras of a node: their subscriptions, the newest image of each, facts for diagnostics."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from flmm_ros.ros.images.adaptive_subscription import AdaptiveSubscription
from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.interface.camera_names import names_of, topic_of
from flmm_ros.ros.interface.endpoints import IMAGE
from flmm_ros.ros.interface.node_config import NodeConfig
from flmm_ros.ros.node.topic_publishers import PublisherFacts


@dataclass(frozen=True)
class CameraFacts:
    """One camera at one moment, for diagnostics. Ages in seconds; None = no image yet.

    drops: images that no command was asked about, by reason.
    """

    topic: str
    publishers: tuple[PublisherFacts, ...] = ()
    received: int = 0
    rate_hz: float = 0.0  # NaN = not known
    age_s: float | None = None
    drops: Mapping[str, int] = field(default_factory=dict)


class Cameras:
    """All cameras of a node. Safe to use from several threads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lock = threading.Lock()  # over the subscriptions
        self._subscriptions: dict[str, AdaptiveSubscription] = {}
        self._config = NodeConfig()
        self._newest = {"": NewestImage()}  # the main one has no name

    def __getitem__(self, name: str) -> NewestImage:
        """The newest image of a camera."""
        return self._newest[name]

    def open(self, config: NodeConfig) -> None:
        """Listens to every camera of the parameter `cameras`."""
        with self._lock:
            self._config = config
            is_compressed = config.image_transport == "compressed"
            kind = CompressedImage if is_compressed else IMAGE.type
            self._newest = {name: NewestImage(kind) for name in names_of(config.cameras)}
            for name, newest in self._newest.items():
                self._subscriptions[name] = AdaptiveSubscription(
                    self._node,
                    kind,
                    topic_of(name),
                    newest.put_serialized,
                    depth=IMAGE.depth,
                    qos=config.image_qos,
                )
                newest.fetch_with(self._subscriptions[name].take)

    def close(self) -> None:
        """Listens no more, and forgets the images."""
        self.forget()
        with self._lock:
            for newest in self._newest.values():
                newest.fetch_with(None)
            while self._subscriptions:
                self._subscriptions.popitem()[1].destroy()

    def forget(self) -> None:
        """Drops the images: they are from before a pause, or from before the clock was set back."""
        for newest in self._newest.values():
            newest.clear()

    def resubscribe(self) -> None:
        """A camera that came later, or came back with another QoS, is asked for what it offers."""
        with self._lock:
            for subscription in self._subscriptions.values():
                subscription.adapt()

    def facts(self, now_ns: int) -> tuple[CameraFacts, ...]:
        """What there is to be said about each; `now_ns` of the node's clock."""
        with self._lock:
            transport = self._config.image_transport
            heard = [
                (name, subscription.topic, subscription.publishers(transport))
                for name, subscription in self._subscriptions.items()
            ]
        found = []
        for name, topic, publishers in heard:
            newest = self._newest[name]
            received = newest.get()
            age_s = None if received is None else received.age_s(now_ns)
            found.append(
                CameraFacts(
                    topic=topic,
                    publishers=publishers,
                    received=newest.count,
                    rate_hz=newest.rate_hz,
                    age_s=age_s,
                    drops=newest.drops,
                )
            )
        return tuple(found)
