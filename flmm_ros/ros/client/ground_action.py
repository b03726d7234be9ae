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

"""The action ~/ground as a program sees it: a client, goals on their way, and the node's life."""

from __future__ import annotations

from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import QoSProfile

from flmm_ros.action import Ground
from flmm_ros.ros.client.asked_goal import AskedGoal
from flmm_ros.ros.client.node_liveliness import NodeLiveliness


class GroundAction:
    """One grounding node's action. Goals are begun and looked after by whoever spins the node.

    Args:
        name: of the action, relative to the node's namespace or absolute.
        services: QoS of its services; by default rclpy's.
    """

    def __init__(self, node: Node, name: str, services: QoSProfile | None = None) -> None:
        roles = ("goal", "result", "cancel")
        qos = {f"{role}_service_qos_profile": services for role in roles} if services else {}
        self.client: Any = ActionClient(node, Ground, name, **qos)
        self.liveliness = NodeLiveliness(node, name)
        self.goals: list[AskedGoal] = []

    @property
    def is_there(self) -> bool:
        """False soon after the node's process was killed, long before DDS forgets the action."""
        return self.client.server_is_ready() and not self.liveliness.is_lost

    def begin(self, goal: AskedGoal) -> None:
        """Sends a goal, and looks after it until it is over."""
        self.goals.append(goal)
        goal.look()

    def look(self) -> None:
        """Goals are asked again, or cancelled."""
        for goal in self.goals:
            goal.look()
        self.goals = [goal for goal in self.goals if not goal.is_over]

    def destroy(self) -> None:
        """Ends the client and the watch over the node."""
        self.liveliness.destroy()
        self.client.destroy()
