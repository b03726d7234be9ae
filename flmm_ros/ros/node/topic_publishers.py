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

"""Who publishes a topic, with which type and QoS, and why a subscription would not receive from it.

"No image" has one of few causes, and all of them can be seen from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

IMAGE_TYPES = {
    "raw": "sensor_msgs/msg/Image",
    "compressed": "sensor_msgs/msg/CompressedImage",
}
_UNNAMED = "UNKNOWN"  # what rclpy calls a node that it has not discovered yet


@dataclass(frozen=True)
class PublisherFacts:
    """One publisher. `problem`: why the subscription does not receive from it, and what to do."""

    node: str
    type: str
    reliability: str
    durability: str
    depth: int
    problem: str = ""

    def __str__(self) -> str:
        qos = f"{self.reliability}, {self.durability}".replace("_", " ")
        return f"{self.node} ({self.type}, {qos})"


def publishers_of(
    node: Node, topic: str, transport: str, profile: QoSProfile
) -> tuple[PublisherFacts, ...]:
    """Every publisher of a topic, as a subscription with `profile` would find it.

    transport: a key of IMAGE_TYPES, which says what type the subscription has.
    """
    return tuple(
        _facts(info, transport, profile) for info in node.get_publishers_info_by_topic(topic)
    )


def _facts(info: Any, transport: str, profile: QoSProfile) -> PublisherFacts:
    offered, kind = info.qos_profile, str(info.topic_type)
    name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
    return PublisherFacts(
        node="a node that is not discovered yet" if _UNNAMED in info.node_name else name,
        type=kind,
        reliability=offered.reliability.name.lower(),
        durability=offered.durability.name.lower(),
        depth=int(offered.depth),
        problem=_problem(kind, offered, transport, profile),
    )


def _problem(kind: str, offered: QoSProfile, transport: str, profile: QoSProfile) -> str:
    if kind != IMAGE_TYPES[transport]:
        fitting = [name for name, of in IMAGE_TYPES.items() if of == kind]
        if fitting:
            return f"set the parameter image_transport to {fitting[0]}"
        return f"expected {' or '.join(IMAGE_TYPES.values())}; is this the image topic?"
    if (offered.reliability, profile.reliability) == (
        ReliabilityPolicy.BEST_EFFORT,
        ReliabilityPolicy.RELIABLE,
    ):
        return (
            "it offers best effort, the node asks for reliable; set the parameter image_qos to "
            "sensor_data"
        )
    if (offered.durability, profile.durability) == (
        DurabilityPolicy.VOLATILE,
        DurabilityPolicy.TRANSIENT_LOCAL,
    ):
        return "it offers volatile, the node asks for transient local; see qos_overrides"
    compatibility, reason = qos_check_compatible(offered, profile)
    if compatibility == QoSCompatibility.ERROR:
        return f"its QoS does not match the node's: {reason.strip()}"
    return ""
