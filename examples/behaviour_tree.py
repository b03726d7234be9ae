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

"""py_trees: a behaviour that looks for something; what it found goes to the blackboard.

    python -m examples.behaviour_tree the red mug

RUNNING while the node works, SUCCESS where what was named is there, FAILURE where it is not, where
several things fit, or where the node refused. Needs py_trees (`pip install py_trees`).
"""

from __future__ import annotations

import sys
from typing import Any

import py_trees
import rclpy
from py_trees.common import Access, Status
from rclpy.action import ActionClient
from rclpy.node import Node

from flmm_ros.action import Ground
from flmm_ros.ros.client.client import result_from_msg


class FindObject(py_trees.behaviour.Behaviour):
    """Asks the grounding node; tick it on the thread that spins `node`. Writes `found_object`."""

    def __init__(self, node: Node, command: str, action: str = "grounding_node/ground") -> None:
        super().__init__(name=f"find: {command}")
        self._command = command
        self._client: Any = ActionClient(node, Ground, action)
        self._sent: Any = None
        self._goal: Any = None
        self._result: Any = None
        self.blackboard = self.attach_blackboard_client(name=self.name)
        self.blackboard.register_key("found_object", access=Access.WRITE)

    def initialise(self) -> None:
        """Forgets the goal before."""
        self._sent = self._goal = self._result = None

    def update(self) -> Status:
        """The state of the goal."""
        if self._sent is None:
            if self._client.server_is_ready():
                self._sent = self._client.send_goal_async(Ground.Goal(command=self._command))
        elif self._goal is None and self._sent.done():
            self._goal = self._sent.result()
            self._result = self._goal.get_result_async()
        elif self._result is not None and self._result.done():
            return self._judge(result_from_msg(self._result.result().result.answer))
        return Status.RUNNING

    def _judge(self, answer: Any) -> Status:
        self.feedback_message = answer.error_text or answer.text
        if not answer.present or answer.is_ambiguous:
            return Status.FAILURE
        self.blackboard.found_object = answer.present[0]
        return Status.SUCCESS

    def terminate(self, new_status: Status) -> None:
        """Cancels the goal where the tree turns elsewhere."""
        if new_status is Status.INVALID and self._goal is not None and not self._result.done():
            self._goal.cancel_goal_async()


def main() -> None:
    """Looks for what stands on the command line."""
    rclpy.init()
    node = rclpy.create_node("behaviour_tree")
    find = FindObject(node, " ".join(rclpy.utilities.remove_ros_args(sys.argv)[1:]))
    while find.status in (Status.INVALID, Status.RUNNING):
        rclpy.spin_once(node, timeout_sec=0.05)
        find.tick_once()
    print(f"{find.status.name}: {find.feedback_message}")
    rclpy.shutdown()


if __name__ == "__main__":
    main()
