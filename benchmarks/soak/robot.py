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

"""The soak's robot: sends commands of every kind, cancels some, and records what comes back.

Goals, topic commands, conversations, invalid ones that must be refused, too little time. What is
sent and when follows from a seed.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from unique_identifier_msgs.msg import UUID

from benchmarks.soak.event_log import NO_NODE, AnsweredImage, EventLog
from benchmarks.soak.image_number import OpenedImage
from flmm_ros.action import Ground
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client.node_thread import NodeThread
from flmm_ros.ros.interface.endpoints import COMMAND, GROUND
from flmm_ros.ros.interface.error_codes import code_name

NODE = "grounding_node"
SERVICE_S = 60.0  # a configure may load a model meanwhile
READY_S = 180.0  # a start on a machine that does other things too
PROBE_S = 5.0
_POLL_S = 0.05
CANCEL_AFTER_S = 0.3  # at most: while a command is at work, as a rule
GOAL_TIMEOUT_S = 30.0
CHATS = 3

INVALID_GOALS: tuple[dict[str, Any], ...] = (
    {"command": ""},
    {"command": " \t\n"},
    {"command": "the mug " * 500},
    {"command": "point at the quxbrax"},
    {"command": "\x00\ufffd\U0001f980"},
    {"command": "point at the red mug", "intent": "dance"},
    {"command": "point at the red mug", "camera": "wrist"},
    {"command": "point at the red mug", "timeout_s": 0.02},
)


class SoakRobot:
    """Talks to the node. A context manager: leaving it ends its threads.

    Args:
        names: of things in the pictures, such as "red mug".
    """

    def __init__(self, node: Node, names: Sequence[str], rate_hz: float, log: EventLog, seed: int):
        self._node, self._names, self._log = node, names, log
        self._period_s = 1.0 / rate_hz
        self._random = random.Random(seed)
        self._cancels: list[tuple[float, str, Any]] = []  # when, key, goal handle
        self._lock = threading.Lock()
        self._probes = 0
        self.unanswered_probes = 0
        self.diagnostics: list[tuple[float, str]] = []  # when, message
        node.create_subscription(
            GroundedAnswer, f"{NODE}/grounding", self._on_answer, QoSProfile(depth=200)
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._command = node.create_publisher(String, "command", COMMAND.depth)
        room = QoSProfile(depth=GROUND.depth)
        self._action: Any = ActionClient(
            node,
            Ground,
            f"{NODE}/ground",
            goal_service_qos_profile=room,
            result_service_qos_profile=room,
            cancel_service_qos_profile=room,
        )
        self._get_state = node.create_client(GetState, f"{NODE}/get_state")
        self._change_state = node.create_client(ChangeState, f"{NODE}/change_state")
        self._spinning = NodeThread(node)
        self._spinning.start()
        self._is_over, self._is_talking = threading.Event(), threading.Event()
        self._talking = threading.Thread(target=self._talk, daemon=True)
        self._talking.start()

    def __enter__(self) -> SoakRobot:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._talking.join()
        self._spinning.close()
        self._action.destroy()

    def start_sending(self) -> None:
        """Sends commands from now on."""
        self._is_talking.set()

    def stop_sending(self) -> None:
        """Sends no more; planned cancels are still sent."""
        self._is_talking.clear()

    def burst(self, count: int) -> None:
        """Sends `count` commands at once: more than may wait."""
        for _ in range(count):
            self._send_goal({"command": self._plain()}, cancel=False)

    def state(self) -> str:
        """The node's lifecycle state."""
        reply = self._call(self._get_state, GetState.Request())
        return str(reply.current_state.label)

    def change(self, transition: str) -> bool:
        """One lifecycle transition; whether it succeeded."""
        number = getattr(Transition, f"TRANSITION_{transition.upper()}")
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self._call(self._change_state, request).success)

    def wait_until_ready(self, check: Callable[[], None]) -> None:
        """Returns when a fresh node answers a goal. Its discovery of this client takes a moment, in
        which answers may be lost: such goals are probes and not recorded as commands.

        Raises:
            TimeoutError: it does not come up.
        """
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s:
            check()
            if self._action.server_is_ready() and self._probe():
                return
            time.sleep(_POLL_S)
        raise TimeoutError(f"expected an active node within {READY_S:g} s, got none")

    def diagnosed_since(self, since_s: float) -> list[str]:
        """What /diagnostics said."""
        with self._lock:
            return [text for at_s, text in self.diagnostics if at_s >= since_s]

    def _probe(self) -> bool:
        self._probes += 1
        sent = self._action.send_goal_async(
            Ground.Goal(command="are you there?", timeout_s=PROBE_S)
        )
        if not self._is_done(sent, PROBE_S):
            self.unanswered_probes += 1
            return False
        result = sent.result().get_result_async()
        if not self._is_done(result, 2 * PROBE_S):
            self.unanswered_probes += 1
            return False
        return bool(result.result().result.answer.error_code != GroundedAnswer.NOT_ACTIVE)

    def _is_done(self, future: Any, timeout_s: float) -> bool:
        end_s = time.monotonic() + timeout_s
        while not future.done() and time.monotonic() < end_s:
            time.sleep(_POLL_S)
        return bool(future.done())

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        if not self._is_done(future, SERVICE_S):
            raise TimeoutError(f"expected an answer of {client.srv_name} in {SERVICE_S:g} s")
        return future.result()

    def _talk(self) -> None:
        next_s = time.monotonic()
        while not self._is_over.wait(0.01):
            now_s = time.monotonic()
            self._cancel_due(now_s)
            if now_s < next_s or not self._is_talking.is_set():
                continue
            next_s = max(next_s + self._period_s, now_s)
            self._send_one()

    def _send_one(self) -> None:
        dice = self._random.random()
        if dice < 0.2:
            self._send_topic(self._plain())
        elif dice < 0.3:
            self._send_goal(dict(self._random.choice(INVALID_GOALS)), cancel=False)
        elif dice < 0.45:
            chat = f"chat {self._random.randrange(CHATS)}"
            self._send_goal({"command": self._plain(), "chat_id": chat}, cancel=False)
        else:
            self._send_goal({"command": self._plain()}, cancel=dice > 0.75)

    def _plain(self) -> str:
        name = self._random.choice(self._names)
        forms = ("point at the {}", "what can I drink from?", "where is the {}?", "pick up the {}")
        return self._random.choice(forms).format(name)

    def _send_topic(self, text: str) -> None:
        sent = self._log.record_sent(uuid.uuid4().hex, "topic", text, time.monotonic())
        if self._command.get_subscription_count() == 0:
            self._log.record_result(sent.key, NO_NODE, time.monotonic(), None)
            return
        self._command.publish(String(data=text))

    def _send_goal(self, fields: dict[str, Any], *, cancel: bool) -> None:
        key = uuid.uuid4()
        self._log.record_sent(key.hex, "goal", fields["command"], time.monotonic())
        if not self._action.server_is_ready():
            self._log.record_result(key.hex, NO_NODE, time.monotonic(), None)
            return
        goal = Ground.Goal(**{"timeout_s": GOAL_TIMEOUT_S, **fields})
        delay_s = self._random.uniform(0.0, CANCEL_AFTER_S) if cancel else None

        def send() -> None:
            future = self._action.send_goal_async(goal, goal_uuid=UUID(uuid=list(key.bytes)))
            future.add_done_callback(lambda done: self._on_accepted(key.hex, done, delay_s))

        self._spinning.call(send)  # on its thread: see flmm_ros/ros/client/asked_goal.py

    def _on_accepted(self, key: str, future: Any, cancel_after_s: float | None) -> None:
        handle = future.result()
        handle.get_result_async().add_done_callback(lambda done: self._on_result(key, done))
        if cancel_after_s is not None:
            with self._lock:
                self._cancels.append((time.monotonic() + cancel_after_s, key, handle))

    def _cancel_due(self, now_s: float) -> None:
        with self._lock:
            due = [cancel for cancel in self._cancels if cancel[0] <= now_s]
            self._cancels = [cancel for cancel in self._cancels if cancel[0] > now_s]
        for _, key, handle in due:
            self._log.record_cancel(key, time.monotonic())
            handle.cancel_goal_async()

    def _on_result(self, key: str, future: Any) -> None:
        msg = future.result().result.answer
        now_s = time.monotonic()
        self._log.record_result(key, code_name(msg.error_code), now_s, _seen(msg))

    def _on_answer(self, msg: GroundedAnswer) -> None:
        now_s, code = time.monotonic(), code_name(msg.error_code)
        self._log.record_topic_answer(msg.command_id, msg.command, code, now_s, _seen(msg))

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name.startswith(f"{self._node.get_namespace()}/{NODE}"):
                level = "ok" if status.level == DiagnosticStatus.OK else "problem"
                with self._lock:
                    self.diagnostics.append((time.monotonic(), f"{level}: {status.message}"))


def _seen(msg: GroundedAnswer) -> AnsweredImage | None:
    opened = OpenedImage.of(msg.answer)
    if opened is None:
        return None
    stamp = msg.header.stamp
    return AnsweredImage(opened.number, opened.opened_s, stamp.sec * 1_000_000_000 + stamp.nanosec)
