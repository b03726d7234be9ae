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

"""Ask the grounding node from a robot program.

    import rclpy
    from flmm_ros.ros.client.client import GroundingClient

    rclpy.init()
    with GroundingClient(rclpy.create_node("robot")) as client:
        result = client.ground("pick up the red mug", timeout_s=10.0)
        print(result.text, [(o.phrase, o.score, o.box_xyxy_px) for o in result.objects])

The client talks through a small node of its own, spun by a thread of its own: `ground` may be
called from anywhere, also from a callback of your node, whether or not your node is spun elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from flmm_ros.action import Ground
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client.asked_goal import AskedGoal, GoalLost
from flmm_ros.ros.client.ground_action import GroundAction
from flmm_ros.ros.client.grounding_result import FoundObject as FoundObject
from flmm_ros.ros.client.grounding_result import GroundingResult, result_from_msg
from flmm_ros.ros.client.node_thread import NodeThread
from flmm_ros.ros.interface.endpoints import GROUND
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.messages.found_target import FoundTarget as FoundTarget

OnFeedback = Callable[[str, str, float], None]  # stage, partial text, elapsed seconds

_ANSWER_MARGIN_S = 5.0  # beyond the goal's own timeout: a stage in the model may have to end first
_POLL_S = 0.2


class GroundingError(Exception):
    """No answer came: no node, or it went away, or it fell silent. The text says what to do."""


class GroundingClient:
    """Asks one grounding node.

    Args:
        node: your node; gives context, namespace and name.
        name: the grounding node's name, relative to your namespace or absolute.
    """

    def __init__(self, node: Node, name: str = "grounding_node") -> None:
        self._own = Node(
            f"{node.get_name()}_grounding_client",
            context=node.context,
            namespace=node.get_namespace(),
            start_parameter_services=False,
            # Rules such as __node:=x are meant for your node; as is its name in them.
            use_global_arguments=False,
        )
        self._name = f"{name}/ground"
        # Room for the answers of many threads at once, see endpoints.BURST.
        services = QoSProfile(depth=GROUND.depth)
        self._action = GroundAction(self._own, self._name, services)
        self._thread = NodeThread(self._own, self._action.look)
        self._thread.start()

    def __enter__(self) -> GroundingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the client's thread and node; yours stays."""
        self._thread.close()
        self._action.destroy()
        self._own.destroy_node()

    def ground(
        self,
        command: str,
        *,
        timeout_s: float = 10.0,
        intent: str = "",
        image: NDArray[np.uint8] | None = None,
        camera: str = "",
        chat_id: str = "",
        on_feedback: OnFeedback | None = None,
        wait_for_node_s: float = 5.0,
    ) -> GroundingResult:
        """Asks and waits for the answer; a refusal is an answer too, see `GroundingResult.error`.

        Args:
            timeout_s: the node gives up after this many seconds (error TIMEOUT); 0 = never.
            intent: ground, answer_and_ground, answer, or empty for the node to decide.
            image: RGB uint8 [H, W, 3] to ask about instead of the node's camera.
            camera: one of the node's further cameras; empty for its main one.
            chat_id: any text; calls with the same one are a conversation about the first one's
                image. Empty: on its own.
            on_feedback: called with stage, partial text, elapsed seconds; on the client's thread.
                The first goal of a new client may miss some: the node's end of the feedback topic
                can be slower to connect than the goal.
            wait_for_node_s: how long to look for the node.

        Raises:
            GroundingError: there is no such node, or it went away, which is known within 3 s.
        """
        self._wait_for_node(wait_for_node_s)
        goal = Ground.Goal(
            command=command,
            intent=intent,
            camera=camera,
            chat_id=chat_id,
            timeout_s=float(timeout_s),
        )
        if image is not None:
            goal.use_image = True
            goal.image = conversions.image_to_msg(image, Header())
        pending = _Pending()
        asked = AskedGoal(self._action.client, goal, pending.end, _told(on_feedback))
        self._thread.call(self._action.begin, asked)
        deadline_s = time.monotonic() + timeout_s + _ANSWER_MARGIN_S if timeout_s > 0 else None
        try:
            while not pending.is_done.wait(_POLL_S):
                self._check_alive(deadline_s)
        except BaseException:  # also Ctrl-C: the node should not go on for nobody
            asked.cancel()
            raise
        return pending.result()

    def _wait_for_node(self, wait_s: float) -> None:
        end_s = time.monotonic() + wait_s
        is_there = self._action.client.wait_for_server(timeout_sec=wait_s)
        # Killed, but DDS has not forgotten it yet:
        while is_there and self._action.liveliness.is_lost:
            if time.monotonic() > end_s:
                is_there = False
            time.sleep(_POLL_S)
        if not is_there:
            name = self._own.resolve_service_name(self._name)
            raise GroundingError(
                f"expected a node that serves the action {name}, found none in {wait_s:g} s; is "
                "the grounding node running, in this namespace, with the same ROS_DOMAIN_ID?"
            )

    def _check_alive(self, deadline_s: float | None) -> None:
        if not self._own.context.ok():
            raise GroundingError("ROS was shut down while the answer was waited for")
        if not self._thread.is_alive:
            raise GroundingError("the client was closed while the answer was waited for")
        if not self._action.is_there:
            raise GroundingError("the grounding node went away before it answered")
        if deadline_s is not None and time.monotonic() > deadline_s:
            raise GroundingError(
                "the grounding node is there but did not answer in time; see its log"
            )


class _Pending:
    """The end of one goal: set on the client's thread, waited for on the caller's."""

    def __init__(self) -> None:
        self.is_done = threading.Event()
        self._answer: GroundedAnswer | None = None
        self._error: BaseException | None = None

    def end(self, answer: GroundedAnswer | None, error: BaseException | None) -> None:
        self._answer, self._error = answer, error
        self.is_done.set()

    def result(self) -> GroundingResult:
        if isinstance(self._error, GoalLost):
            raise GroundingError(str(self._error)) from self._error
        if self._error is not None:
            raise self._error
        if self._answer is None:
            raise GroundingError("the grounding node ended the goal without an answer")
        return result_from_msg(self._answer)


def _told(on_feedback: OnFeedback | None) -> Callable[[Ground.Feedback], None]:
    if on_feedback is None:
        return lambda feedback: None
    return lambda feedback: on_feedback(feedback.stage, feedback.partial_text, feedback.elapsed_s)
