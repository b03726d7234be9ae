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

"""The replay's side of the topics: it plays messages and the clock, and asks the grounding node.

Goals are asked one beside another and never waited for; a thread of its own listens.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from flmm_ros.action import Ground
from flmm_ros.engine.errors import FlmmError
from flmm_ros.msg import GroundedAnswer
from flmm_ros.replay.online.node_subscriptions import NodeSubscriptions
from flmm_ros.ros.client.asked_goal import AskedGoal
from flmm_ros.ros.client.ground_action import GroundAction
from flmm_ros.ros.client.node_thread import NodeThread
from flmm_ros.ros.client.repeated_call import RepeatedCall

_POLL_S = 0.05
_SERVICE_S = 20.0
_FOR_LATECOMERS = "/tf_static"  # published once; whoever listens asks for what came before
_STATIC_TRANSFORMS = 100  # messages: each driver of a robot sends its own, once
_AGAIN_S = 1.5  # the node counts its images once a second
_LEAD_IN_S = 600  # sim time before the recording begins, for as long as the node loads its model


class OnlineError(FlmmError):
    """The running node cannot be used for a replay, or went away."""

    code = "ONLINE"


@dataclass(eq=False)
class SentGoal:
    """One sentence on its way; times are monotonic seconds, answered_s when the result came.

    newest_ns: stamp of the newest image that had been played when it was sent.
    """

    number: int
    sent_s: float
    newest_ns: int
    cancel_at_s: float | None = None
    cancelled_s: float | None = None
    answered_s: float = 0.0
    answer: GroundedAnswer | None = None
    error: str = ""
    asked: AskedGoal | None = None

    @property
    def is_cancel_due(self) -> bool:
        """It should be cancelled, and can be now."""
        is_time = self.cancel_at_s is not None and time.monotonic() >= self.cancel_at_s
        is_open = self.asked is not None and self.asked.is_accepted and not self.asked.is_over
        return is_time and is_open and self.cancelled_s is None


class NodeLink:
    """A context manager; leaving it ends its thread and its node."""

    def __init__(self, arguments: Sequence[str], name: str) -> None:
        """arguments: of ROS, such as remappings. name: of the grounding node."""
        # rclpy's own handlers would end communication before the last rows are written.
        self._context = Context()
        rclpy.init(
            args=list(arguments),
            context=self._context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node = Node("replay", context=self._context)
        self.name = name
        self._publishers = dict[str, Any]()
        self._clock = self.node.create_publisher(Clock, "/clock", _reliable())
        self._now_ns = 0
        self._action = GroundAction(self.node, f"{name}/ground")
        self._state = self.node.create_client(GetState, f"{name}/get_state")
        self._parameters = self.node.create_client(GetParameters, f"{name}/get_parameters")
        self._hearing = NodeSubscriptions(self.node, self.node.resolve_service_name(name))
        self.answered: queue.Queue[SentGoal] = queue.Queue()
        self._thread = NodeThread(self.node, self._action.look)
        self._thread.start()

    def __enter__(self) -> NodeLink:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.close()
        self._action.destroy()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def wait_until_ready(self, start_ns: int, timeout_s: float) -> None:
        """Returns when the node is active, by the clock that is played here.

        start_ns: when the recording begins. Until then time goes by before it, for a node whose
        timers stand still would never load its model.

        Raises:
            OnlineError: there is no such node, or it does not use the played clock, or it does
                not become active.
        """
        begin_s = time.monotonic()

        def tick() -> None:
            passed_ns = int((time.monotonic() - begin_s) * 1e9)
            self.tick(start_ns - _LEAD_IN_S * 1_000_000_000 + passed_ns)

        full = self.node.resolve_service_name(self.name)
        self._wait(self._state.service_is_ready, timeout_s, f"a grounding node {full}", tick)
        request = GetParameters.Request(names=["use_sim_time"])
        values = self._call(self._parameters, request, tick).values
        if not values or not values[0].bool_value:
            raise OnlineError(
                f"{full}: expected use_sim_time true, got false; start the node with "
                "-p use_sim_time:=true, or use launch/replay.launch.py"
            )

        def is_active() -> bool:
            state = self._call(self._state, GetState.Request(), tick).current_state
            return bool(state.id == State.PRIMARY_STATE_ACTIVE)

        self._wait(is_active, timeout_s, f"an active grounding node {full}; see its log", tick)
        self._wait(self._action.client.server_is_ready, timeout_s, f"the action of {full}", tick)

    def parameters(self, names: Sequence[str]) -> dict[str, Any]:
        """The node's values of these parameters."""
        request = GetParameters.Request(names=list(names))
        values = self._call(self._parameters, request, self._still).values
        found = map(parameter_value_to_python, values)
        return {name: value for name, value in zip(names, found, strict=False) if value is not None}

    def advertise(self, topic: str, kind: str) -> bool:
        """Makes ready to play a topic; False where its type is not installed here."""
        package, _, name = kind.rpartition("/")
        try:
            message_type = getattr(import_module(package.replace("/", ".")), name)
        except (ImportError, AttributeError):
            return False
        profile = _reliable()
        if topic == _FOR_LATECOMERS:
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
            profile.depth = _STATIC_TRANSFORMS
        self._publishers[topic] = self.node.create_publisher(message_type, topic, profile)
        return True

    def wait_for_listener(
        self, topic: str, kind: str, start_ns: int, timeout_s: float, *, reliably: bool
    ) -> None:
        """Returns when the node listens to a topic.

        reliably: as it does where its parameter image_qos is auto and nobody else publishes.

        Raises:
            OnlineError: it does not, to this type.
        """
        publisher, begin_s = self._publishers[topic], time.monotonic()
        full = self.node.resolve_topic_name(topic)

        def tick() -> None:
            left_s = max(0.0, timeout_s - (time.monotonic() - begin_s))
            self.tick(max(self._now_ns, start_ns - int(left_s * 1e9)))

        def is_heard() -> bool:
            if (kinds := self._hearing.kinds(full)) and kind not in kinds:
                raise OnlineError(
                    f"{full}: expected a node that listens to {kind}, as recorded, it listens to "
                    f"{', '.join(sorted(kinds))}; set its image_transport or depth_transport"
                )
            is_listening = self._hearing.is_listening(full, kind, reliably=reliably)
            return is_listening and publisher.get_subscription_count() > 0

        what = f"the node to listen to {full} ({kind})"
        if reliably:
            what += " reliably, as it does unless somebody else publishes there"
        self._wait(is_heard, timeout_s, what, tick)

    def wait_until_heard(self, topic: str, data: bytes, timeout_s: float) -> float:
        """Plays the first image, until the node has it, and returns the seconds that took.

        The clock stands still meanwhile. Otherwise the first commands, which are small, would
        overtake it on a machine that is busy, and be refused where a robot has seen images before.

        Raises:
            OnlineError: the node does not get it.
        """
        begin_s = next_s = time.monotonic()
        self._wait(lambda: self._hearing.images is not None, timeout_s, "/diagnostics", self._still)
        before = self._hearing.images or 0

        def tick() -> None:
            nonlocal next_s
            self._still()
            if time.monotonic() >= next_s:
                next_s = time.monotonic() + _AGAIN_S
                self.play(topic, data)

        tick()
        what = f"the node to receive an image on {topic}; see /diagnostics"
        self._wait(lambda: (self._hearing.images or 0) > before, timeout_s, what, tick)
        return time.monotonic() - begin_s

    def _still(self) -> None:
        self.tick(self._now_ns)

    def play(self, topic: str, data: bytes) -> None:
        """One message as it was recorded."""
        self._publishers[topic].publish(data)

    def tick(self, now_ns: int) -> None:
        """Plays the clock; it never goes back."""
        self._now_ns = max(self._now_ns, now_ns)
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(self._now_ns, 1_000_000_000)
        self._clock.publish(clock)

    def ask(self, goal: SentGoal, text: str, *, intent: str = "", chat_id: str = "") -> None:
        """Sends a goal; it turns up in `answered` when it ends."""
        message = Ground.Goal(command=text, intent=intent, chat_id=chat_id)

        def on_end(answer: GroundedAnswer | None, error: BaseException | None) -> None:
            goal.answered_s = time.monotonic()
            goal.answer, goal.error = answer, str(error or "")
            self.answered.put(goal)

        goal.asked = AskedGoal(self._action.client, message, on_end)
        self._thread.call(self._action.begin, goal.asked)

    def cancel(self, goal: SentGoal) -> None:
        """Asks for the end of a goal that has been accepted."""
        goal.cancelled_s = time.monotonic()
        if goal.asked is not None:
            goal.asked.cancel()
            self._thread.call(goal.asked.look)

    def check(self) -> None:
        """Raises OnlineError where the node has gone away."""
        if not self._action.is_there:
            raise OnlineError(f"{self.name}: the grounding node went away; see its log")

    def _call(self, client: Any, request: Any, tick: Callable[[], None]) -> Any:
        call = RepeatedCall(client, request)
        return self._wait(call.answer, _SERVICE_S, f"an answer of {client.srv_name}", tick)

    def _wait(
        self, there: Callable[[], Any], timeout_s: float, what: str, tick: Callable[[], None]
    ) -> Any:
        end_s = time.monotonic() + timeout_s
        while not (found := there()):
            if time.monotonic() > end_s:
                raise OnlineError(f"expected {what} within {timeout_s:g} s, nothing came")
            tick()
            time.sleep(_POLL_S)
        return found


def _reliable() -> QoSProfile:
    return QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
