"""The replay's side of the topics: it plays messages and the clock, and asks the grounding node.

Goals are asked one beside another and never waited for; a thread of its own listens.
Does not know about: recordings, what a right answer is, when something is due.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any

import psutil
import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from flmm_ros.action import Ground
from flmm_ros.engine.types import FlmmError
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.asked_goal import AskedGoal
from flmm_ros.tools.repeated_call import RepeatedCall

_POLL_S = 0.05
_SERVICE_S = 20.0
_PROGRAM = "grounding_node"
_LEAD_IN_S = 600  # sim time before the recording begins, for as long as the node loads its model


class OnlineError(FlmmError):
    """The running node cannot be used for a replay, or went away."""

    code = "ONLINE"


@dataclass(eq=False)
class Goal:
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
        reliable = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
        self._reliable, self._publishers = reliable, dict[str, Any]()
        self._clock = self.node.create_publisher(Clock, "/clock", reliable)
        self._now_ns = 0
        self._action: Any = ActionClient(self.node, Ground, f"{name}/ground")
        self._state = self.node.create_client(GetState, f"{name}/get_state")
        self._parameters = self.node.create_client(GetParameters, f"{name}/get_parameters")
        self.answered: queue.Queue[Goal] = queue.Queue()
        self._asked: list[AskedGoal] = []  # only used on the thread that spins
        self._is_over = threading.Event()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def __enter__(self) -> NodeLink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._executor.shutdown()
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
        self._wait(self._action.server_is_ready, timeout_s, f"the action of {full}", tick)

    def parameters(self, names: Sequence[str]) -> dict[str, Any]:
        """The node's values of these parameters."""
        request = GetParameters.Request(names=list(names))
        values = self._call(self._parameters, request, lambda: self.tick(self._now_ns)).values
        found = map(parameter_value_to_python, values)
        return {name: value for name, value in zip(names, found, strict=False) if value is not None}

    def advertise(self, topic: str, kind: str) -> bool:
        """Makes ready to play a topic; False where its type is not installed here."""
        package, _, name = kind.rpartition("/")
        try:
            message_type = getattr(import_module(package.replace("/", ".")), name)
        except (ImportError, AttributeError):
            return False
        self._publishers[topic] = self.node.create_publisher(message_type, topic, self._reliable)
        return True

    def wait_for_listener(self, topic: str, kind: str, start_ns: int, timeout_s: float) -> None:
        """Returns when somebody listens to a topic.

        Raises:
            OnlineError: nobody does, to this type.
        """
        publisher, begin_s = self._publishers[topic], time.monotonic()

        def tick() -> None:
            left_s = max(0.0, timeout_s - (time.monotonic() - begin_s))
            self.tick(max(self._now_ns, start_ns - int(left_s * 1e9)))

        full = self.node.resolve_topic_name(topic)
        what = f"the node to listen to {full} as {kind}; see its parameter image_transport"
        self._wait(publisher.get_subscription_count, timeout_s, what, tick)

    def play(self, topic: str, data: bytes) -> None:
        """One message as it was recorded."""
        self._publishers[topic].publish(data)

    def tick(self, now_ns: int) -> None:
        """Plays the clock; it never goes back."""
        self._now_ns = max(self._now_ns, now_ns)
        clock = Clock()
        clock.clock.sec, clock.clock.nanosec = divmod(self._now_ns, 1_000_000_000)
        self._clock.publish(clock)

    def ask(self, goal: Goal, text: str, *, intent: str = "", chat_id: str = "") -> None:
        """Sends a goal; it turns up in `answered` when it ends."""
        message = Ground.Goal(command=text, intent=intent, chat_id=chat_id)

        def on_end(answer: GroundedAnswer | None, error: Exception | None) -> None:
            goal.answered_s = time.monotonic()
            goal.answer, goal.error = answer, str(error or "")
            self.answered.put(goal)

        goal.asked = AskedGoal(self._action, message, on_end)
        self._executor.create_task(self._begin, goal.asked)

    def cancel(self, goal: Goal) -> None:
        """Asks for the end of a goal that has been accepted."""
        goal.cancelled_s = time.monotonic()
        if goal.asked is not None:
            goal.asked.cancel()
            self._executor.create_task(goal.asked.look)

    def check(self) -> None:
        """Raises OnlineError where the node has gone away."""
        if not self._action.server_is_ready():
            raise OnlineError(f"{self.name}: the grounding node went away; see its log")

    def _begin(self, asked: AskedGoal) -> None:
        self._asked.append(asked)
        asked.look()

    def _spin(self) -> None:
        while not self._is_over.is_set() and self.node.context.ok():
            with suppress(ExternalShutdownException):
                self._executor.spin_once(timeout_sec=0.1)
            for asked in self._asked:
                asked.look()
            self._asked = [asked for asked in self._asked if not asked.is_over]

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


def find_process(name: str) -> int | None:
    """The process of the grounding node called so, on this machine and in this ROS domain; None:
    there is none, or more than one."""
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with suppress(psutil.Error):  # it has ended, or is somebody else's
            line = process.info["cmdline"] or []
            names = [part.partition("__node:=")[2] for part in line if "__node:=" in part]
            is_node = any(_PROGRAM in part for part in line[:3]) and process.pid != os.getpid()
            is_named = name == (names[-1] if names else _PROGRAM)
            if is_node and is_named and process.environ().get("ROS_DOMAIN_ID", "0") == domain:
                found.append(process)
    # A shell or a launcher that started the node has its name on the command line as well.
    leaves = [p for p in found if not any(c in found for c in p.children(recursive=True))]
    return leaves[0].pid if len(leaves) == 1 else None
