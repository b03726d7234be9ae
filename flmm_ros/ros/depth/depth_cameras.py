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

"""Depth and camera_info of every camera: subscribed to while the node is active."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from flmm_ros.ros.depth.depth_images import DepthImages, DepthSource, DepthWatch
from flmm_ros.ros.images.adaptive_subscription import AdaptiveSubscription
from flmm_ros.ros.interface.camera_names import topic_of
from flmm_ros.ros.interface.endpoints import CAMERA_INFO, DEPTH
from flmm_ros.ros.interface.node_config import SpaceConfig


class DepthCameras:
    """All depth images of a node. Safe to use from several threads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._images: dict[str, DepthImages] = {}
        self._lock = threading.Lock()  # over the subscriptions
        self._subscriptions: list[AdaptiveSubscription] = []

    def open(self, names: tuple[str, ...], config: SpaceConfig, qos: str) -> None:
        """Listens to the depth of these cameras; the main one has no name. qos: as for images."""
        if config.depth == "off":
            return
        kind = CompressedImage if config.depth_transport == "compressed" else DEPTH.type
        with self._lock:
            for name in names:
                self._images[name] = self._open_one(name, kind, qos)

    def _open_one(self, name: str, kind: Any, qos: str) -> DepthImages:
        images = DepthImages(kind)
        depth = AdaptiveSubscription(
            self._node,
            kind,
            topic_of(name, DEPTH),
            images.put_depth,
            depth=DEPTH.depth,
            qos=qos,
            is_wanted=images.is_wanted,
        )
        info = AdaptiveSubscription(
            self._node,
            CAMERA_INFO.type,
            topic_of(name, CAMERA_INFO),
            images.put_serialized_info,
            depth=CAMERA_INFO.depth,
            qos=qos,
            is_wanted=images.is_wanted,
        )

        def fetch() -> None:
            info.take()
            depth.take()

        images.connect(DepthSource(fetch, depth.wake, lambda: depth.has_publisher))
        self._subscriptions += [depth, info]
        return images

    def close(self) -> None:
        """Listens no more, and forgets everything."""
        with self._lock:
            while self._subscriptions:
                self._subscriptions.pop().destroy()
            self._images = {}

    def resubscribe(self) -> None:
        """Topics that came later, or with another QoS, are asked for what they offer now."""
        with self._lock:
            for subscription in self._subscriptions:
                subscription.adapt()

    def forget(self) -> None:
        """Drops what has come: it is from before the clock was set back."""
        for images in self._images.values():
            images.clear()

    def watch(self, camera: str, header: Header) -> DepthWatch | None:
        """Begins to look for the depth of the image with this header; None where depth is off."""
        images = self._images.get(camera)
        return None if images is None else images.watch(header)

    def watcher(self, camera: str) -> partial[DepthWatch | None]:
        """`watch` for one camera."""
        return partial(self.watch, camera)

    def counts(self) -> dict[str, int]:
        """Depth images received so far, by camera."""
        return {name: images.count for name, images in self._images.items()}
