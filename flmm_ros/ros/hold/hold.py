"""Between commands the objects of an answer are followed at camera rate, and published.

A thread of its own takes every newest image, moves the masks on, and grounds the phrases again when
an object is lost and now and then, through the worker like any command, but only when nobody else
waits for it. While that runs, images are remembered, so that the new masks catch up through them.
Does not know about: topics, models, how objects are tracked.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.engine.answer import Answer, Grounding, Intent
from flmm_ros.engine.errors import FlmmError
from flmm_ros.engine.masks.mask import tight_box
from flmm_ros.engine.masks.tracker import Track, Tracker
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answer_message import answer_to_msg
from flmm_ros.ros.commands.answering import Reply
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.images.newest_image import NewestImage, Received
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.targets.target_finding import Locator
from flmm_ros.ros.targets.target_messages import add_targets

IMAGE_WAIT_S = 0.5
RETRY_S = 1.0  # a lost object is not sought more often
CATCH_UP = 8  # images that new masks are moved through, at most
_REMEMBERED = 60
_SAME_IOU = 0.3  # of an object before and after it was grounded again

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HoldSettings:
    """period_s: grounded again after this time, 0 = never. lost_below: a confidence."""

    period_s: float
    lost_below: float


@dataclass(frozen=True)
class HoldLinks:
    """What the holder needs of its node.

    newest: the images of a camera. locator: finds a camera's objects in space. ground: asks the
    worker where it is idle; False where it is not. publish: sends ~/held.
    """

    newest: Callable[[str], NewestImage]
    locator: Callable[[str], Locator]
    ground: Callable[[Command], bool]
    publish: Callable[[GroundedAnswer], None]
    settings: Callable[[], HoldSettings]


@dataclass
class _Held:
    """What is being followed. `ids` and `tracks` are in the order of `objects`."""

    command: Command
    msg: GroundedAnswer  # the answer it began with
    objects: list[Grounding]
    ids: list[int]
    tracker: Tracker
    tracks: list[Track]
    received: Received | None = None
    grounded_s: float = 0.0
    asked: Command | None = None  # by which the objects are being grounded again


class Holder:
    """Holds the objects of one answer at a time. Its methods may be called from any thread."""

    def __init__(self, links: HoldLinks) -> None:
        self._links = links
        self._events: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self._held: _Held | None = None
        self._passed: deque[tuple[int, NDArray[np.uint8], list[NDArray[np.bool_]]]]
        self._passed = deque(maxlen=_REMEMBERED)
        self._last_id = self._own_commands = 0
        self._is_closed = False
        self.is_active = False
        self._thread = threading.Thread(target=self._loop, name="holder", daemon=True)
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
        """The end of a command of the holder's own."""
        self._events.put(("grounded", command, outcome))

    def close(self, timeout_s: float) -> None:
        """Ends the thread."""
        self._events.put(("close", None, None))
        self._thread.join(timeout_s)

    def _loop(self) -> None:
        while not self._is_closed:
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - logged with its traceback; the thread lives on
                _log.exception("objects could not be held")
                self._held, self.is_active = None, False

    def _turn(self) -> None:
        """Every event that waits, then one image."""
        while self._held is None or not self._events.empty():
            kind, command, outcome = self._events.get()
            if kind == "close":
                self._is_closed = True
                return
            if kind == "stop":
                self._held = None
            elif kind == "start":
                self._begin(command, outcome)
            elif self._held is not None and command is self._held.asked:
                self._take_over(self._held, outcome)
        held = self._held
        newest = self._links.newest(held.command.camera)
        received = newest.wait_for_newer(held.received, IMAGE_WAIT_S)
        if received is not None and self._events.empty():  # what came meanwhile comes first
            held.received = received
            self._follow(held, received)
            self._ground_again(held)

    def _begin(self, command: Command, reply: Reply) -> None:
        objects = [o for o in reply.objects if o.is_present and o.mask.any()]
        self._held = None
        self._passed.clear()
        if objects and reply.rgb is not None:
            self._held = _Held(
                command=command,
                msg=reply.msg,
                objects=objects,
                ids=[self._new_id() for _ in objects],
                tracker=Tracker(reply.rgb, [o.mask for o in objects]),
                tracks=[Track(o.mask, 1.0) for o in objects],
                grounded_s=time.monotonic(),
            )

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _follow(self, held: _Held, received: Received) -> None:
        """Moves the masks on to an image and publishes them."""
        header = received.msg.header
        locator = self._links.locator(held.command.camera)
        watch = locator.watch(header)
        try:
            rgb = conversions.rgb_from_msg(received.msg)
            held.tracks = held.tracker.step(rgb)
        except (FlmmError, ValueError) as error:
            _log.warning("objects are held no longer: %s", error)
            self._held, self.is_active = None, False
            return
        masks = [track.mask for track in held.tracks]
        if held.asked is not None:
            self._passed.append((_stamp(header), rgb, masks))
        lost_below = self._links.settings().lost_below
        objects = [
            _moved(grounding, track, lost_below)
            for grounding, track in zip(held.objects, held.tracks, strict=True)
        ]
        msg = _to_msg(held, objects, header, rgb)
        add_targets(msg, locator.find(objects, header, watch))
        self._links.publish(msg)

    def _ground_again(self, held: _Held) -> None:
        """Asks for new masks where it is time, and nobody else asks for something."""
        settings, now_s = self._links.settings(), time.monotonic()
        is_lost = min(track.confidence for track in held.tracks) < settings.lost_below
        wait_s = RETRY_S if is_lost else settings.period_s
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
        self._passed.clear()
        if self._links.ground(command):
            self._own_commands += 1
            held.asked = command

    def _take_over(self, held: _Held, outcome: Reply | Exception) -> None:
        """New masks take the place of the old ones, and catch up with the newest image."""
        held.asked = None
        held.grounded_s = time.monotonic()
        passed = list(self._passed)
        self._passed.clear()
        if not isinstance(outcome, Reply) or outcome.rgb is None:
            return
        objects = [o for o in outcome.objects if o.is_present and o.mask.any()]
        if not objects:
            return  # still lost: sought again soon
        stamp = _stamp(outcome.msg.header)
        before = next((masks for at, _, masks in passed if at == stamp), None)
        held.ids = self._ids(objects, held, before or [track.mask for track in held.tracks])
        held.objects = objects
        held.tracker = Tracker(outcome.rgb, [o.mask for o in objects])
        held.tracks = [Track(o.mask, 1.0) for o in objects]
        later = [rgb for at, rgb, _ in passed if at > stamp]
        for index in np.linspace(0, len(later) - 1, min(CATCH_UP, len(later))).astype(int):
            held.tracks = held.tracker.step(later[index])

    def _ids(
        self, objects: Sequence[Grounding], held: _Held, masks: Sequence[NDArray[np.bool_]]
    ) -> list[int]:
        """The number of the old object that is in the same place; a new one where there is none."""
        free = dict(zip(held.ids, zip(held.objects, masks, strict=True), strict=True))
        ids = []
        for grounding in objects:
            overlaps = {
                number: _iou(grounding.mask, mask)
                for number, (old, mask) in free.items()
                if old.phrase == grounding.phrase
            }
            best = max(overlaps, key=lambda number: overlaps[number], default=None)
            if best is None or overlaps[best] < _SAME_IOU:
                ids.append(self._new_id())
            else:
                ids.append(best)
                del free[best]
        return ids


def _moved(grounding: Grounding, track: Track, lost_below: float) -> Grounding:
    """The grounding with the mask of now. A lost object is not present."""
    return replace(
        grounding,
        mask=track.mask,
        soft_mask=track.mask.astype(np.float32),
        box_xyxy_px=tight_box(track.mask),
        is_present=bool(track.confidence >= lost_below and track.mask.any()),
        candidates=(),
    )


def _to_msg(
    held: _Held, objects: Sequence[Grounding], header: Header, rgb: NDArray[np.uint8]
) -> GroundedAnswer:
    """The message of ~/held for one image."""
    result = Answer(held.msg.answer, tuple(objects), Intent(held.msg.intent))
    msg = answer_to_msg(result, header, rgb.shape[:2])
    msg.command_id, msg.command = held.msg.command_id, held.msg.command
    msg.chat_id, msg.model = held.msg.chat_id, held.msg.model
    msg.image_age_s = -1.0
    for found, number, track in zip(msg.objects, held.ids, held.tracks, strict=True):
        found.track_id = number
        found.track_confidence = float(track.confidence) if found.is_present else 0.0
    return msg


def _stamp(header: Header) -> int:
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    if a.shape != b.shape:
        return 0.0
    return float((a & b).sum() / max(1, (a | b).sum()))
