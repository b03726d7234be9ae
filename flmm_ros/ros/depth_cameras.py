"""Depth and camera_info of every camera: subscribed to while the node is active.

Depth comes as bytes and is decoded by whoever needs it. Does not know about: models, commands,
targets.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from flmm_ros.ros.camera import reliability_of
from flmm_ros.ros.depth_images import DepthImages, DepthWatch
from flmm_ros.ros.endpoints import CAMERA_INFO, DEPTH, Endpoint
from flmm_ros.ros.parameters import SpaceConfig


class DepthCameras:
    """All depth images of a node. Safe to use from several threads."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._images: dict[str, DepthImages] = {}
        self._handles: list[Any] = []
        self._qos = "auto"

    def open(self, names: tuple[str, ...], config: SpaceConfig, qos: str) -> None:
        """Listens to the depth of these cameras; the main one has no name. qos: as for images."""
        self._qos = qos
        if config.depth == "off":
            return
        kind = CompressedImage if config.depth_transport == "compressed" else DEPTH.type
        for name in names:
            images = DepthImages(kind)
            self._images[name] = images
            self._listen(DEPTH, kind, name, images.put_depth, raw=True)
            self._listen(CAMERA_INFO, CAMERA_INFO.type, name, images.put_info)

    def close(self) -> None:
        """Listens no more, and forgets everything."""
        while self._handles:
            self._node.destroy_subscription(self._handles.pop())
        self._images = {}

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
        self, endpoint: Endpoint, kind: Any, name: str, callback: Any, *, raw: bool = False
    ) -> None:
        topic = f"{name}/{endpoint.name}" if name else endpoint.name
        absolute = self._node.resolve_topic_name(topic)
        reliability = reliability_of(self._node, self._qos, absolute)
        profile = QoSProfile(depth=endpoint.depth, reliability=reliability)
        group = MutuallyExclusiveCallbackGroup()
        self._handles.append(
            self._node.create_subscription(
                kind, topic, callback, profile, callback_group=group, raw=raw
            )
        )
