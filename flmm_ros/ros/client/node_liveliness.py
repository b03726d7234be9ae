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

"""Whether the process of the grounding node lives, known within seconds of a kill -9.

DDS takes some 20 s to forget a process that ended without a word. The node's action therefore
offers a liveliness lease on its status topic, which the middleware keeps up by itself, also while a
model keeps Python busy; whoever asks for the same lease hears when it runs out.
"""

from __future__ import annotations

import time
from typing import Any

from action_msgs.msg import GoalStatusArray
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import LivelinessPolicy, QoSProfile, ReliabilityPolicy

from flmm_ros.ros.interface.endpoints import LIVELINESS_LEASE_S

_PARTICIPANT_BYTES = 12  # of a DDS endpoint's GUID
_GRACE_S = 0.4  # the lease may be taken up again, on a machine or network that is very busy


class NodeLiveliness:
    """Watches one action; its events are handled by whoever spins the node.

    Args:
        action: the action's name, as for an ActionClient.
    """

    def __init__(self, node: Node, action: str) -> None:
        self._node, self._topic = node, f"{action}/_action/status"
        self._lost_s: float | None = None  # monotonic
        self._subscription: Any = node.create_subscription(
            GoalStatusArray,
            self._topic,
            lambda _: None,
            QoSProfile(
                depth=1,
                reliability=ReliabilityPolicy.BEST_EFFORT,
                liveliness=LivelinessPolicy.AUTOMATIC,
                liveliness_lease_duration=Duration(seconds=LIVELINESS_LEASE_S),
            ),
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(
                liveliness=self._on_change,
                incompatible_qos=lambda _: None,  # a node that offers no lease: nothing is known
            ),
        )

    @property
    def is_lost(self) -> bool:
        """The node was there, and its process has ended or hangs. False where it never was, or
        offers no lease."""
        lost_s = self._lost_s
        is_over = lost_s is not None and time.monotonic() - lost_s > _GRACE_S
        return is_over and not self._is_in_own_context()

    def _is_in_own_context(self) -> bool:
        """The action is served by this very process, whose lease Fast DDS does not renew reliably:
        both ends belong to one DDS participant, which the first bytes of an endpoint's id name."""
        own = (self._node.get_name(), self._node.get_namespace())
        participants = {
            bytes(end.endpoint_gid[:_PARTICIPANT_BYTES])
            for end in self._node.get_subscriptions_info_by_topic(self._topic)
            if (end.node_name, end.node_namespace) == own
        }
        return any(
            bytes(end.endpoint_gid[:_PARTICIPANT_BYTES]) in participants
            for end in self._node.get_publishers_info_by_topic(self._topic)
        )

    def destroy(self) -> None:
        """Ends the subscription."""
        self._node.destroy_subscription(self._subscription)

    def _on_change(self, event: Any) -> None:
        if event.alive_count > 0:
            self._lost_s = None
        elif self._lost_s is None:
            self._lost_s = time.monotonic()
