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

"""One command on its way through the node's action, awaited by a page.

Everything that rclpy has to do is done on its thread; everything a page hears of comes in its event
loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flmm_ros.action import Ground
from flmm_ros.console.node.frames import Frame, Frames
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client.asked_goal import AskedGoal

_QUEUED = "queued"


class ConsoleError(Exception):
    """A command that got no answer: no node, or it went away. The text says what to do."""


@dataclass(frozen=True)
class Question:
    """One command as a person sent it."""

    command: str
    intent: str = ""
    chat_id: str = ""
    timeout_s: float = 0.0


@dataclass(frozen=True)
class Progress:
    """Where a command's work is."""

    stage: str
    partial_text: str
    elapsed_s: float


class Goal:
    """One command on its way. Made and awaited in the event loop.

    Args:
        call_ros: has something called on the thread of rclpy, as everything of an action is.
        on_progress: called in the event loop, before the answer is there.
        frames: where the image of the answer is looked for.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        call_ros: Callable[[Callable[[], Any]], Any],
        on_progress: Callable[[Progress], None],
        frames: Frames,
    ) -> None:
        self._loop, self._call_ros = loop, call_ros
        self._on_progress, self._frames = on_progress, frames
        self._answer: asyncio.Future[GroundedAnswer] = loop.create_future()
        self._asked: AskedGoal | None = None
        self._is_cancelled = False
        self.held: tuple[Frame, ...] = ()  # the newest images when the work began
        self.deadline_s = float("inf")  # monotonic; a node that is silent for longer is given up

    async def answer(self) -> GroundedAnswer:
        """The answer, refusals and cancels included.

        Raises:
            ConsoleError: none will come.
        """
        return await self._answer

    def cancel(self) -> None:
        """Asks the node to stop; the answer then is CANCELED, or what was ready before."""
        self._is_cancelled = True
        self._call_ros(self.look)

    def when_ended(self, call: Callable[[], None]) -> None:
        """Calls once there is an answer, or will be none."""
        self._answer.add_done_callback(lambda _: call())

    def fail(self, text: str) -> None:
        """Ends the wait for an answer; in the event loop."""
        if not self._answer.done():
            self._answer.set_exception(ConsoleError(text))

    # On the thread of rclpy.

    def send(self, action: Any, request: Ground.Goal) -> None:
        """Sends the command to the node."""
        self._asked = AskedGoal(action, request, self._has_ended, self._feedback_came)
        self.look()

    def look(self) -> None:
        """Asks again where something got lost, and passes a cancel on."""
        if self._asked is not None:
            if self._is_cancelled:
                self._asked.cancel()
            self._asked.look()

    def _feedback_came(self, feedback: Ground.Feedback) -> None:
        if feedback.stage != _QUEUED and not self.held:
            self.held = self._frames.held()
        progress = Progress(feedback.stage, feedback.partial_text, feedback.elapsed_s)
        self._soon(self._on_progress, progress)

    def _has_ended(self, answer: GroundedAnswer | None, error: BaseException | None) -> None:
        if answer is None:
            self._soon(self.fail, str(error))
            return
        self.held = (*self.held, *self._frames.held())  # feedback may have been missed
        self._soon(self._succeed, answer)

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop has closed: the console ends
            self._loop.call_soon_threadsafe(call, *arguments)

    # In the event loop.

    def _succeed(self, answer: GroundedAnswer) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)
