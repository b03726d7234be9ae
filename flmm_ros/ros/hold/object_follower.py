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

"""Between commands the objects of an answer are followed at camera rate, and published.

A thread of its own takes every newest image, moves the masks on, and grounds the phrases again when
an object is lost and now and then, through the worker, behind every user's command. While that
runs, a few images are kept, so that the new masks catch up through them.

An image that cannot be used is skipped, and said. After images of another size, or after a time in
which nobody listened, the objects are grounded again before they are followed.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.errors import ImageError
from flmm_ros.engine.masks.tracker import Track, Tracker, reduced
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answering import Reply
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.hold.frame_history import FrameHistory, PassedFrame
from flmm_ros.ros.hold.held_objects import HeldObjects, same_ids
from flmm_ros.ros.images.newest_image import NewestImage, Received
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.targets.target_finding import Locator
from flmm_ros.ros.targets.target_messages import add_targets

IMAGE_WAIT_S = 0.5
LISTENER_WAIT_S = 0.2
UNSEEN_S = 1.0  # after a longer time without being followed the objects are elsewhere
RETRY_S = 1.0  # a lost object is not sought more often
LASTING_IMAGES = 3  # so many of another size, one after another, are no accident
TARGET_PERIOD_S = 0.2  # docs/targets.md and ~/held state this rate

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HoldSettings:
    """period_s: grounded again after this time, 0 = never. lost_below: a confidence."""

    period_s: float
    lost_below: float


@dataclass(frozen=True)
class HoldStatus:
    """For diagnostics. trouble: why objects are not being followed; empty = they are, or there are
    none."""

    is_active: bool = False
    is_heard: bool = True
    held: int = 0
    lost: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class FollowerLinks:
    """What the follower needs of its node.

    newest: the images of a camera. locator: finds a camera's objects in space. ground: asks the
    worker where it is idle; False where it is not. publish: sends ~/held. is_heard: somebody
    listens to it.
    """

    newest: Callable[[str], NewestImage]
    locator: Callable[[str], Locator]
    ground: Callable[[Command], bool]
    publish: Callable[[GroundedAnswer], None]
    settings: Callable[[], HoldSettings]
    is_heard: Callable[[], bool] = lambda: True


class ObjectFollower:
    """Follows the objects of one answer at a time. Its methods may be called from any thread."""

    def __init__(self, links: FollowerLinks) -> None:
        self._links = links
        self._events: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self._held: HeldObjects | None = None
        self._history = FrameHistory()
        self._last_id = self._own_commands = 0
        self._unheard_since_s: float | None = None
        self._is_closed = False
        self.is_active = False
        self.status = HoldStatus()
        self._thread = threading.Thread(target=self._loop, name="object-follower", daemon=True)
        self._thread.start()

    def start(self, command: Command, reply: Reply) -> None:
        """Follows the objects of an answer; lets go where it has none."""
        self.is_active = True
        self._events.put(("start", command, reply))

    def stop(self) -> None:
        """Lets go."""
        self.is_active = False
        self._events.put(("stop", None, None))

    def grounded(self, command: Command, outcome: Reply | Exception) -> None:
        """The end of a command of the follower's own."""
        self._events.put(("grounded", command, outcome))

    def close(self, timeout_s: float) -> None:
        """Ends the thread."""
        self._events.put(("close", None, None))
        self._thread.join(timeout_s)

    # On the follower's thread.

    def _loop(self) -> None:
        while not self._is_closed:
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  logged with its traceback; the thread lives on
                _log.exception("held objects could not be followed in an image")
                if self._held is not None:
                    self._held.sought_because = f"{type(error).__name__}: {error}"
                    self._set_status(self._held)

    def _turn(self) -> None:
        """Every event that waits, then one image."""
        while self._held is None or not self._events.empty():
            self._take_event(*self._events.get())
            if self._is_closed:
                return
        held = self._held
        if not self._links.is_heard():
            self._rest(held)
            return
        self._resume(held)
        newest = self._links.newest(held.command.camera)
        received = newest.wait_for_newer(held.received, IMAGE_WAIT_S)
        if received is not None and self._events.empty():  # what came meanwhile comes first
            held.received = received
            self._follow(held, received)
            self._ground_again(held)

    def _take_event(self, kind: str, command: Command, outcome: Any) -> None:
        if kind == "close":
            self._is_closed = True
        elif kind == "stop":
            self._held = None
            self.status = HoldStatus()
        elif kind == "start":
            self._begin(command, outcome)
        elif self._held is not None and command is self._held.asked:
            self._take_over(self._held, outcome)

    def _rest(self, held: HeldObjects) -> None:
        """Nobody listens: nothing is followed, located, grounded or published."""
        if self._unheard_since_s is None:
            self._unheard_since_s = time.monotonic()
        self._set_status(held, is_heard=False)
        try:
            self._take_event(*self._events.get(timeout=LISTENER_WAIT_S))
        except queue.Empty:
            return

    def _resume(self, held: HeldObjects) -> None:
        since_s, self._unheard_since_s = self._unheard_since_s, None
        if since_s is not None and time.monotonic() - since_s > UNSEEN_S:
            self._seek(held, "nobody listened to ~/held for a while")

    def _begin(self, command: Command, reply: Reply) -> None:
        objects = [o for o in reply.objects if o.is_present and o.mask.any()]
        self._held = None
        self._history.clear()
        self.status = HoldStatus(is_active=self.is_active)
        if objects and reply.rgb is not None:
            self._held = HeldObjects(
                command=command,
                answer=reply.msg,
                objects=objects,
                ids=[self._new_id() for _ in objects],
                tracker=Tracker(reply.rgb, [o.mask for o in objects]),
                tracks=[Track(o.mask, 1.0) for o in objects],
                size_hw=_size_of(reply.rgb),
                grounded_s=time.monotonic(),
            )

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _follow(self, held: HeldObjects, received: Received) -> None:
        """Moves the masks on to an image and publishes them."""
        header = received.msg.header
        try:
            rgb = conversions.rgb_from_msg(received.msg)
        except ImageError as error:
            self._skip(held, header, held.size_hw, str(error))
            return
        size_hw = _size_of(rgb)
        if size_hw != held.size_hw and not held.sought_because:
            text = _other_size(held.size_hw, size_hw)
            if held.count_strange(size_hw) < LASTING_IMAGES:
                self._skip(held, header, size_hw, text)
                return
            held.size_hw = size_hw
            self._seek(held, text)
        held.strange_size = ((0, 0), 0)
        since_s, held.skipped_since_s = held.skipped_since_s, 0.0
        if since_s and time.monotonic() - since_s > UNSEEN_S and not held.sought_because:
            self._seek(held, "no image could be used for a while")
        small = reduced(rgb)
        if held.sought_because:
            masks = tuple(track.mask for track in held.tracks)
            self._remember(held, header, small, masks)
            self._say_lost(held, header, size_hw)
            return
        held.tracks = held.tracker.step_reduced(small)
        self._remember(held, header, small, tuple(track.mask for track in held.tracks))
        objects = held.followed(self._links.settings().lost_below)
        msg = held.to_msg(objects, header)
        self._locate(held, msg, header)
        self._set_status(held, lost=sum(not o.is_present for o in objects))
        self._links.publish(msg)

    def _remember(
        self,
        held: HeldObjects,
        header: Header,
        small: NDArray[np.uint8],
        masks: tuple[NDArray[np.bool_], ...],
    ) -> None:
        if held.asked is not None:
            self._history.add(PassedFrame(_stamp(header), small, masks))

    def _skip(self, held: HeldObjects, header: Header, size_hw: tuple[int, int], text: str) -> None:
        """An image that cannot be used: said, and the next one is followed from the one before."""
        _log.warning("held objects are not followed in an image: %s", text)
        held.skipped_since_s = held.skipped_since_s or time.monotonic()
        kept = held.tracks
        held.lose_all(size_hw)
        msg = held.to_msg(held.followed(1.0), header)
        held.tracks = kept
        msg.error_code, msg.error_text = GroundedAnswer.BAD_IMAGE, text
        self._set_status(held, lost=len(held.objects), trouble=text)
        self._links.publish(msg)

    def _say_lost(self, held: HeldObjects, header: Header, size_hw: tuple[int, int]) -> None:
        """All objects are being sought."""
        kept = held.tracks
        held.lose_all(size_hw)
        msg = held.to_msg(held.followed(1.0), header)
        held.tracks = kept
        self._set_status(held, lost=len(held.objects))
        self._links.publish(msg)

    def _seek(self, held: HeldObjects, because: str) -> None:
        """The objects are grounded again before they are followed."""
        _log.info("held objects are sought again: %s", because)
        held.sought_because, held.asked, held.grounded_s = because, None, 0.0

    def _locate(self, held: HeldObjects, msg: GroundedAnswer, header: Header) -> None:
        """Targets, a few times a second; in between the reason why there are none stays."""
        now_s = time.monotonic()
        if now_s - held.located_s < TARGET_PERIOD_S:
            msg.target_code, msg.target_text = held.target_code, held.target_text
            return
        held.located_s = now_s
        locator = self._links.locator(held.command.camera)
        watch = locator.watch(header)
        objects = held.followed(self._links.settings().lost_below)
        add_targets(msg, locator.find(objects, header, watch))
        held.target_code, held.target_text = msg.target_code, msg.target_text

    def _set_status(
        self, held: HeldObjects, *, lost: int = 0, trouble: str = "", is_heard: bool = True
    ) -> None:
        trouble = trouble or held.sought_because
        self.status = HoldStatus(self.is_active, is_heard, len(held.objects), lost, trouble)

    def _ground_again(self, held: HeldObjects) -> None:
        """Asks for new masks where it is time, and nobody else asks for something."""
        settings, now_s = self._links.settings(), time.monotonic()
        is_lost = min(track.confidence for track in held.tracks) < settings.lost_below
        wait_s = RETRY_S if is_lost or held.sought_because else settings.period_s
        if held.asked is not None or wait_s <= 0 or now_s - held.grounded_s < wait_s:
            return
        phrases = list(dict.fromkeys(grounding.phrase for grounding in held.objects))
        command = Command(
            command_id=f"hold-{self._own_commands + 1}",
            text=" and ".join(phrases),
            intent=Intent.GROUND.value,
            camera=held.command.camera,
            is_own=True,
        )
        held.grounded_s = now_s
        self._history.clear()
        if self._links.ground(command):
            self._own_commands += 1
            held.asked = command

    def _take_over(self, held: HeldObjects, outcome: Reply | Exception) -> None:
        """New masks take the place of the old ones, and catch up with the newest image."""
        held.asked = None
        held.grounded_s = time.monotonic()
        if not isinstance(outcome, Reply) or outcome.rgb is None:
            return
        objects = [o for o in outcome.objects if o.is_present and o.mask.any()]
        if not objects:
            return  # still lost: sought again soon
        stamp = _stamp(outcome.msg.header)
        before = self._history.nearest(stamp)
        old_masks = before.masks if before else tuple(track.mask for track in held.tracks)
        held.ids = same_ids(objects, held, old_masks, self._new_id)
        held.objects = objects
        held.tracker = Tracker(outcome.rgb, [o.mask for o in objects])
        held.tracks = [Track(o.mask, 1.0) for o in objects]
        held.size_hw, held.sought_because = _size_of(outcome.rgb), ""
        shape = reduced(outcome.rgb).shape
        for frame in self._history.since(stamp):
            if frame.small.shape == shape:
                held.tracks = held.tracker.step_reduced(frame.small)
        self._history.clear()


def _size_of(rgb: NDArray[np.uint8]) -> tuple[int, int]:
    return rgb.shape[0], rgb.shape[1]


def _other_size(expected_hw: tuple[int, int], got_hw: tuple[int, int]) -> str:
    return (
        f"image: expected {expected_hw[1]}x{expected_hw[0]} pixels like the ones before, got "
        f"{got_hw[1]}x{got_hw[0]}; if that lasts, the held objects are grounded again"
    )


def _stamp(header: Header) -> int:
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)
