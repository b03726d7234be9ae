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

"""The action ~/ground: every goal is accepted at once and ends with an answer.

A goal that waits holds no executor thread: its end is scheduled when its answer is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile

from flmm_ros.action import Ground
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.interface.endpoints import GROUND, LIVELINESS_LEASE_S

# For clients that ask late (asked_goal.py). Not longer: a result holds a mask, and all goals that
# are kept stand in every status message, three for a goal, which every client unpacks.
RESULT_KEPT_S = 10
_QUEUED = "queued"

Submit = Callable[[Command, float, Callable[[], bool]], None]


class GoalServer:
    """Turns goals into commands.

    Args:
        submit: takes a command, its timeout in seconds and the function that says whether it was
            cancelled; calls `command.on_done` exactly once.
    """

    def __init__(self, node: Node, submit: Submit) -> None:
        self._submit = submit
        self._server = ActionServer(
            node,
            GROUND.type,
            GROUND.name,
            execute_callback=_no_answer,
            handle_accepted_callback=self._begin,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
            result_timeout=RESULT_KEPT_S,
            goal_service_qos_profile=QoSProfile(depth=GROUND.depth),
            result_service_qos_profile=QoSProfile(depth=GROUND.depth),
            cancel_service_qos_profile=QoSProfile(depth=GROUND.depth),
            status_pub_qos_profile=QoSProfile(
                depth=1,  # as every action's, but for the lease
                durability=DurabilityPolicy.TRANSIENT_LOCAL,
                liveliness=LivelinessPolicy.AUTOMATIC,
                liveliness_lease_duration=Duration(seconds=LIVELINESS_LEASE_S),
            ),
        )

    def destroy(self) -> None:
        """Ends the server."""
        self._server.destroy()

    def _begin(self, goal: ServerGoalHandle) -> None:
        request = goal.request
        accepted_s = time.monotonic()

        def report(stage: str, partial_text: str) -> None:
            elapsed_s = time.monotonic() - accepted_s
            goal.publish_feedback(
                Ground.Feedback(stage=stage, partial_text=partial_text, elapsed_s=elapsed_s)
            )

        report(_QUEUED, "")
        command = Command(
            command_id=bytes(goal.goal_id.uuid).hex(),
            text=request.command,
            intent=request.intent,
            image=request.image if request.use_image else None,
            camera=request.camera,
            chat_id=request.chat_id,
            on_progress=report,
            on_done=lambda msg: goal.execute(lambda ended: _end(ended, msg)),
        )
        self._submit(command, max(0.0, request.timeout_s), lambda: bool(goal.is_cancel_requested))


def _end(goal: ServerGoalHandle, msg: GroundedAnswer) -> Ground.Result:
    """The goal's last state and its result."""
    if msg.error_code == GroundedAnswer.OK:
        goal.succeed()
    elif goal.is_cancel_requested:
        goal.canceled()
    else:
        goal.abort()
    return Ground.Result(answer=msg)


def _no_answer(goal: ServerGoalHandle) -> Ground.Result:
    """The server asks for a default; goals here only ever end through `_end`."""
    raise RuntimeError(f"goal {bytes(goal.goal_id.uuid).hex()} was executed without an answer")
