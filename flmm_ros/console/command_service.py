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

"""Takes commands from people, sends them to the node, and returns answers and attachments.

Limits are enforced here: commands per minute, commands of one person, commands of all. Every
command ends in exactly one event, `answer` or `failed`; heat maps and points follow as their own
events.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from concurrent.futures import Executor
from typing import Any

from sensor_msgs.msg import Image, PointCloud2

from flmm_ros.console import answers
from flmm_ros.console.attachments import HEAT, POINTS, SCENE, Attachments
from flmm_ros.console.node.bridge import Bridge
from flmm_ros.console.node.frames import Frame, find
from flmm_ros.console.node.goal import ConsoleError, Goal, Progress, Question
from flmm_ros.console.web.live import LiveView
from flmm_ros.console.web.pictures import PictureStore
from flmm_ros.console.web.users import MAX_AT_WORK, User
from flmm_ros.engine.errors import ImageError
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.images.newest_image import ImageMsg

MAX_COMMAND_CHARS = 2000  # the node has a limit of its own, and says so
MAX_AT_WORK_IN_ALL = 12
_OWN_KEPT = 200

_log = logging.getLogger(__name__)


class Refused(Exception):
    """A command that is not even sent. The text is for the person who asked."""


class CommandService:
    """Between people and the node. Lives in the event loop.

    Args:
        executor: where pictures are decoded and encoded, away from the event loop.
        timeout_s: after which the node gives a command up.
    """

    def __init__(self, executor: Executor, *, timeout_s: float, rate_hz: float) -> None:
        self._executor, self._timeout_s, self._rate_hz = executor, timeout_s, rate_hz
        self.pictures = PictureStore()
        self._attachments = Attachments(self._on_match)
        self._own: OrderedDict[str, tuple[User, str]] = OrderedDict()  # by the node's command_id
        self._unclaimed: OrderedDict[str, list[tuple[str, Any]]] = OrderedDict()
        self._images: OrderedDict[tuple[int, int, str], tuple[str, str]] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_work = 0
        self.bridge: Bridge
        self.live: LiveView

    def connect(self, bridge: Bridge) -> None:
        """Begins to use the ROS side; the two need each other."""
        self.bridge = bridge
        self.live = LiveView(bridge.frames, self._executor, self._rate_hz)

    # From people.

    def ask(self, user: User, command: str, intent: str, *, follows: bool) -> None:
        """Sends a command; its events go to the user's pages.

        follows: it belongs to the conversation of the command before, about the same image.

        Raises:
            Refused: too long, too many, too fast.
        """
        if len(command) > MAX_COMMAND_CHARS:
            raise Refused(f"at most {MAX_COMMAND_CHARS} characters, please")
        if len(user.cancels) >= MAX_AT_WORK:
            raise Refused(f"{MAX_AT_WORK} of your commands are still at work; wait or cancel one")
        if self._at_work >= MAX_AT_WORK_IN_ALL:
            raise Refused("too many people are asking at once; try again in a moment")
        if not user.commands.take():
            raise Refused(f"too fast: try again in {user.commands.wait_s:.0f} s")
        user.chat_id = (user.chat_id or secrets.token_hex(8)) if follows else ""
        identity = secrets.token_hex(8)
        user.tell(
            {
                "type": "question",
                "id": identity,
                "command": command,
                "intent": intent,
                "follows": follows,
                "at_ms": int(time.time() * 1000),
            }
        )

        def on_progress(progress: Progress) -> None:
            if identity in user.cancels:
                user.tell(
                    {
                        "type": "progress",
                        "id": identity,
                        "stage": progress.stage,
                        "text": progress.partial_text,
                        "elapsed_s": round(progress.elapsed_s, 2),
                    }
                )

        question = Question(command, intent, user.chat_id, self._timeout_s)
        goal = self.bridge.ask(question, on_progress)
        user.cancels[identity] = goal.cancel
        self._at_work += 1
        self._begin(self._answer(user, identity, goal))

    def cancel(self, user: User, identity: str) -> None:
        """Stops one of the user's own commands; one that has ended stays as it is."""
        cancel = user.cancels.get(identity)
        if cancel is not None:
            cancel()

    # From the node.

    def on_frame(self, frame: Frame) -> None:
        """For the live picture."""
        self.live.on_frame(frame)

    def on_grounding(self, msg: GroundedAnswer) -> None:
        """Any answer of the node, in order; whoever asked."""
        self._attachments.add_answer(msg)

    def on_heat(self, msg: Image) -> None:
        """What the phrases of one answer looked at."""
        self._attachments.add_attachment(HEAT, msg)

    def on_points(self, msg: PointCloud2) -> None:
        """Where the pixels of one answer's target are in space."""
        self._attachments.add_attachment(POINTS, msg)

    def on_scene(self, msg: PointCloud2) -> None:
        """All that is around a target."""
        self._attachments.add_attachment(SCENE, msg)

    # What comes of a command.

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a page's work failed", exc_info=task.exception())

    async def _answer(self, user: User, identity: str, goal: Goal) -> None:
        """Waits for the answer and tells the user's pages; in any case exactly once."""
        try:
            msg = await goal.answer()
            image, thumb = await self._pictures_for(msg, goal)
            event = {"type": "answer", "id": identity, "image": image, "thumb": thumb}
            event |= answers.to_page(msg)
        except ConsoleError as error:
            user.tell({"type": "failed", "id": identity, "text": str(error)})
        except Exception:
            text = "a fault in the console; its log holds the details"
            user.tell({"type": "failed", "id": identity, "text": text})
            raise  # logged by `_ended`
        else:
            user.tell(event)
            self._attach(user, identity, msg)
        finally:
            user.cancels.pop(identity, None)
            self._at_work -= 1

    def _attach(self, user: User, identity: str, msg: GroundedAnswer) -> None:
        """Attachments of this answer, earlier ones too, go to the user from now on."""
        self._own[msg.command_id] = (user, identity)
        while len(self._own) > _OWN_KEPT:
            self._own.popitem(last=False)
        for kind, attachment in self._unclaimed.pop(msg.command_id, []):
            self._begin(self._send_attachment(user, identity, msg, kind, attachment))

    async def _pictures_for(self, msg: GroundedAnswer, goal: Goal) -> tuple[str, str]:
        """Identities of the image and the thumbnail; empty where the image is not known here."""
        stamp = msg.header.stamp
        key = (stamp.sec, stamp.nanosec, msg.header.frame_id)
        known = self._images.get(key)
        if known and all(self.pictures.get(identity) for identity in known):
            return known
        image = find(goal.held, msg.header)
        if image is None or not msg.mask.height:
            return "", ""
        made = await self._encoded(image)
        if any(key[:2]) and all(made):  # without a stamp, the next image looks the same
            self._images[key] = made
            while len(self._images) > _OWN_KEPT:
                self._images.popitem(last=False)
        return made

    async def _encoded(self, image: ImageMsg) -> tuple[str, str]:
        loop = asyncio.get_running_loop()
        try:
            made = await loop.run_in_executor(self._executor, answers.pictures_of_msg, image)
        except ImageError as error:
            _log.warning("picture of an answer: %s", error)
            return "", ""
        return self.pictures.put(made.full, "image/jpeg"), self.pictures.put(
            made.thumb, "image/jpeg"
        )

    def _on_match(self, answer: GroundedAnswer, kind: str, msg: Any) -> None:
        """An attachment of an answer; of our own once the answer itself is there."""
        own = self._own.get(answer.command_id)
        if own is not None:
            self._begin(self._send_attachment(*own, answer, kind, msg))
            return
        self._unclaimed.setdefault(answer.command_id, []).append((kind, msg))
        while len(self._unclaimed) > MAX_AT_WORK_IN_ALL:
            self._unclaimed.popitem(last=False)

    async def _send_attachment(
        self, user: User, identity: str, answer: GroundedAnswer, kind: str, msg: Any
    ) -> None:
        """Tells the user's pages where the pictures of an attachment are."""
        loop = asyncio.get_running_loop()
        event: dict[str, Any] = {"type": kind, "id": identity}
        try:
            if kind == HEAT:
                indices = answers.heat_indices(answer)
                made = await loop.run_in_executor(
                    self._executor, answers.heat_pictures, msg, max(indices) + 1
                )
                stored = [self.pictures.put(data, "image/jpeg") for data in made]
                event["pictures"] = [stored[index] for index in indices]
            else:
                xyz_m, rgb = await loop.run_in_executor(self._executor, answers.points_of_msg, msg)
                data = answers.points_to_page(xyz_m, rgb)
                event["points"] = self.pictures.put(data, "application/octet-stream")
                event["count"], event["frame"] = len(xyz_m), msg.header.frame_id
        except (ImageError, ValueError) as error:
            _log.warning("%s of an answer: %s", kind, error)
            return
        user.tell(event)
