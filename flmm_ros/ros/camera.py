"""Subscribes to the camera so that it just connects. Does not know about: models, commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from flmm_ros.ros.endpoints import IMAGE
from flmm_ros.ros.parameters import NodeConfig


def subscribe(
    node: Node,
    config: NodeConfig,
    callback: Callable[[Any], None],
    group: CallbackGroup,
    name: str = "",
) -> Any:
    """Subscribes to the relative topic `image`, or `NAME/image` of a further camera, raw or
    compressed as the parameters say."""
    topic = topic_of(name)
    message_type = CompressedImage if config.image_transport == "compressed" else IMAGE.type
    reliability = _reliability(node, config.image_qos, topic)
    profile = QoSProfile(depth=IMAGE.depth, reliability=reliability)
    node.get_logger().info(
        f"listening to {node.resolve_topic_name(topic)} ({message_type.__name__}, "
        f"{'reliable' if reliability is ReliabilityPolicy.RELIABLE else 'best effort'})"
    )
    return node.create_subscription(message_type, topic, callback, profile, callback_group=group)


def topic_of(name: str) -> str:
    """The image topic of a camera; of the main one, which has no name, `image`."""
    return f"{name}/{IMAGE.name}" if name else IMAGE.name


def names_of(cameras: str) -> tuple[str, ...]:
    """All cameras of the parameter `cameras`, the main one, which has no name, first."""
    further = dict.fromkeys(name.strip() for name in cameras.split(",") if name.strip())
    return ("", *further)


def _reliability(node: Node, choice: str, topic: str) -> ReliabilityPolicy:
    """Best effort receives from every publisher; reliable loses no part of a large image.

    `auto` is reliable only where every publisher is, and so never refuses one that is there.
    """
    if choice == "sensor_data":
        return ReliabilityPolicy.BEST_EFFORT
    if choice == "reliable":
        return ReliabilityPolicy.RELIABLE
    publishers = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
    offered = {info.qos_profile.reliability for info in publishers}
    is_reliable = offered == {ReliabilityPolicy.RELIABLE}
    return ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT
