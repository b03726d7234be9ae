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

"""What the grounding node hears of the topics that are played: who listens how, images received."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy

_IMAGES = "images received"  # what the node calls them on /diagnostics


class NodeSubscriptions:
    """Watches the grounding node from another one.

    Args:
        node: of this process, spun by somebody else.
        name: the grounding node's, absolute.
    """

    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name = node, name
        self.images: int | None = None  # received since it was activated, by its last word
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def is_listening(self, topic: str, kind: str, *, reliably: bool) -> bool:
        """Whether the node subscribes to an absolute topic as this type.

        reliably: only then. A node that suits its camera asks for best effort as long as there is
        none, and subscribes anew within a second when one is there: what is published in between
        is lost.
        """
        profiles = [info.qos_profile for info in self._ears(topic) if info.topic_type == kind]
        is_reliable = all(p.reliability is ReliabilityPolicy.RELIABLE for p in profiles)
        return bool(profiles) and (is_reliable or not reliably)

    def kinds(self, topic: str) -> set[str]:
        """The types as which the node subscribes to an absolute topic."""
        return {info.topic_type for info in self._ears(topic)}

    def _ears(self, topic: str) -> list[Any]:
        return [
            info
            for info in self._node.get_subscriptions_info_by_topic(topic)
            if f"{info.node_namespace.rstrip('/')}/{info.node_name}" == self._name
        ]

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name.partition(":")[0] == self._name and _IMAGES in values:
                self.images = int(values[_IMAGES])
