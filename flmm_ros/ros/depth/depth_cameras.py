"""Depth and camera_info of every camera: subscribed to while the node is active.

Depth comes as bytes and is decoded by whoever needs it. Does not know about: models, commands,
targets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from flmm_ros.ros.depth.depth_images import DepthImages, DepthWatch
from flmm_ros.ros.images.camera import offers_other, reliability_of
from flmm_ros.ros.interface.endpoints import CAMERA_INFO, DEPTH, Endpoint
from flmm_ros.ros.interface.parameters import SpaceConfig


@dataclass(frozen=True)
class _Heard:
    """One topic that is listened to. topic: absolute; handle: rclpy's subscription."""

    topic: str
    kind: Any
    depth: int
    callback: Callable[[Any], None]
    is_raw: bool
    reliability: ReliabilityPolicy
    handle: Any


class DepthCameras:
    """All depth images of a node. Safe to use from several threads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._images: dict[str, DepthImages] = {}
        self._lock = threading.Lock()  # over the subscriptions
        self._heard: list[_Heard] = []
        self._qos = "auto"

    def open(self, names: tuple[str, ...], config: SpaceConfig, qos: str) -> None:
        """Listens to the depth of these cameras; the main one has no name. qos: as for images."""
        self._qos = qos
        if config.depth == "off":
            return
        kind = CompressedImage if config.depth_transport == "compressed" else DEPTH.type
        with self._lock:
            for name in names:
                images = DepthImages(kind)
                self._images[name] = images
                self._listen(DEPTH, kind, name, images.put_depth, is_raw=True)
                self._listen(CAMERA_INFO, CAMERA_INFO.type, name, images.put_info)

    def close(self) -> None:
        """Listens no more, and forgets everything."""
        with self._lock:
            while self._heard:
                self._node.destroy_subscription(self._heard.pop().handle)
            self._images = {}

    def hear_again(self) -> None:
        """Topics that came later, or with another QoS, are asked for what they offer now."""
        if self._qos != "auto":
            return
        with self._lock:
            for number, old in enumerate(self._heard):
                if offers_other(self._node, old.topic, old.reliability):
                    self._node.destroy_subscription(old.handle)
                    self._heard[number] = self._subscribe(
                        old.topic, old.kind, old.depth, old.callback, old.is_raw
                    )

    def forget(self) -> None:
        """What has come is of a time that is yet to come again."""
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

    def _listen(
        self,
        endpoint: Endpoint,
        kind: Any,
        name: str,
        callback: Callable[[Any], None],
        *,
        is_raw: bool = False,
    ) -> None:
        topic = self._node.resolve_topic_name(f"{name}/{endpoint.name}" if name else endpoint.name)
        self._heard.append(self._subscribe(topic, kind, endpoint.depth, callback, is_raw))

    def _subscribe(
        self, topic: str, kind: Any, depth: int, callback: Callable[[Any], None], is_raw: bool
    ) -> _Heard:
        reliability = reliability_of(self._node, self._qos, topic)
        handle = self._node.create_subscription(
            kind,
            topic,
            callback,
            QoSProfile(depth=depth, reliability=reliability),
            callback_group=MutuallyExclusiveCallbackGroup(),
            raw=is_raw,
        )
        return _Heard(topic, kind, depth, callback, is_raw, reliability, handle)
