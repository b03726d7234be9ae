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

"""One goal of the action ~/ground, asked until it is known to have arrived, and carried out once.

A server that has only just been discovered may not know yet where to send its answers to: DDS
discovers each way by itself, and an acceptance or a result can get lost. So both are asked for
again. A goal that is sent again has the same id, and a server takes an id once only: it answers
that it does not accept the second one, and goes on with the first.

All of it happens on the thread that spins the client. rclpy notes a goal down only after it has
sent it, and throws away an acceptance that another thread has taken meanwhile.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus
from unique_identifier_msgs.msg import UUID

from flmm_ros.action import Ground
from flmm_ros.msg import GroundedAnswer

AGAIN_S = 3.0
# No sending is later than this: a server forgets goals that have ended (goals.RESULT_KEPT_S), and
# would carry out one that comes again after that.
LAST_S = 7.0
CANCEL_S = 60.0  # a cancelled goal whose end does not come for so long is given up
_RESULT_ASKS = 6
_ENDED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_CANCELED,
    GoalStatus.STATUS_ABORTED,
)

OnFeedback = Callable[[Ground.Feedback], None]
OnEnd = Callable[[GroundedAnswer | None, BaseException | None], None]


class GoalLost(Exception):
    """No answer will come; the text says why."""


class AskedGoal:
    """One goal on its way.

    Args:
        action: rclpy's client of the action.
        on_end: called once, with the answer or with why there is none. It and on_feedback are
            called on the thread that spins the client.
    """

    def __init__(
        self,
        action: Any,
        goal: Ground.Goal,
        on_end: OnEnd,
        on_feedback: OnFeedback = lambda feedback: None,
    ) -> None:
        self._action, self._goal = action, goal
        self._on_end, self._on_feedback = on_end, on_feedback
        self._id = UUID(uuid=list(uuid.uuid4().bytes))
        self._handle: Any = None
        self._first_s = self._next_s = 0.0
        self._cancelled_s = float("inf")
        self._times_sent = self._result_asks = 0
        self._is_cancel_sent = self._is_end_known = False
        self.is_over = False

    @property
    def is_accepted(self) -> bool:
        """The node has the goal."""
        return self._handle is not None

    def cancel(self) -> None:
        """The next `look` asks the node to stop. May be called on any thread."""
        self._cancelled_s = min(self._cancelled_s, time.monotonic())

    def look(self) -> None:
        """Sends what is due: the first time at once, then now and again until the goal is over.

        Only on the thread that spins the client.
        """
        if self.is_over:
            return
        try:
            self._send_what_is_due(time.monotonic())
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the answer
            self._end(None, error)

    def _send_what_is_due(self, now_s: float) -> None:
        if now_s - self._cancelled_s > CANCEL_S:
            raise GoalLost("the grounding node did not answer the cancel; see its log")
        is_cancelled = self._cancelled_s <= now_s
        if self._handle is None:
            is_in_time = now_s - self._first_s < LAST_S and not is_cancelled
            if now_s >= self._next_s and (is_in_time or not self._times_sent):
                self._send(now_s)
            return
        if is_cancelled and not self._is_cancel_sent:
            self._is_cancel_sent = True
            self._handle.cancel_goal_async()
        # Not while the node is at work: each time that it is asked it answers, once it is done.
        if not self._is_end_known and self._handle.status in _ENDED:
            self._is_end_known = True
            self._next_s = now_s + AGAIN_S  # the result is on its way, as a rule
        is_missing = self._is_end_known or not self._handle.accepted
        if is_missing and now_s >= self._next_s and self._result_asks < _RESULT_ASKS:
            self._ask_for_result(now_s)

    def _send(self, now_s: float) -> None:
        self._first_s = self._first_s or now_s
        self._next_s = now_s + AGAIN_S
        self._times_sent += 1
        sent = self._action.send_goal_async(self._goal, self._take_feedback, self._id)
        sent.add_done_callback(self._on_taken)

    def _take_feedback(self, msg: Any) -> None:
        if self.is_over:
            return
        try:
            self._on_feedback(msg.feedback)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits, also a sys.exit
            if self._handle is not None:
                self._handle.cancel_goal_async()
            self._end(None, error)

    def _on_taken(self, future: Any) -> None:
        """The node has answered one of the sendings."""
        if self.is_over or self._handle is not None:
            return
        try:
            handle = future.result()
            if not handle.accepted and self._times_sent == 1:
                raise GoalLost("the grounding node did not accept the goal; see its log")
            self._handle = handle
            self._ask_for_result(time.monotonic())
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the answer
            self._end(None, error)
            return
        self.look()

    def _ask_for_result(self, now_s: float) -> None:
        self._next_s = now_s + AGAIN_S
        self._result_asks += 1
        self._handle.get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future: Any) -> None:
        if self.is_over:
            return
        try:
            response = future.result()
            if response.status == GoalStatus.STATUS_UNKNOWN:
                raise GoalLost("the grounding node knows nothing of the goal; was it restarted?")
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the answer
            self._end(None, error)
            return
        self._end(response.result.answer, None)

    def _end(self, answer: GroundedAnswer | None, error: BaseException | None) -> None:
        self.is_over = True
        self._on_end(answer, error)
