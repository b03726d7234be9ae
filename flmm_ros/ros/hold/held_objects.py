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

"""The objects of one answer that are being followed, and their messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.engine.answer import Answer, Grounding, Intent
from flmm_ros.engine.masks.mask import iou, tight_box
from flmm_ros.engine.masks.tracker import Track, Tracker
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answer_message import answer_to_msg
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.images.newest_image import Received

_SAME_IOU = 0.3  # of an object before and after it was grounded again


@dataclass
class HeldObjects:
    """What is being followed. `ids` and `tracks` are in the order of `objects`.

    answer: the one it began with. size_hw: of the images. sought_because: why the objects have to
    be grounded again before they can be followed; empty = they are followed. strange_size: of the
    last images, where it is another one, and how many there were. skipped_since_s: when the first
    of the images came that could not be used; 0 = the last one could.
    """

    command: Command
    answer: GroundedAnswer
    objects: list[Grounding]
    ids: list[int]
    tracker: Tracker
    tracks: list[Track]
    size_hw: tuple[int, int]
    grounded_s: float
    received: Received | None = None
    asked: Command | None = None  # by which the objects are being grounded again
    sought_because: str = ""
    strange_size: tuple[tuple[int, int], int] = ((0, 0), 0)
    skipped_since_s: float = 0.0
    located_s: float = 0.0
    target_code: int = GroundedAnswer.OK  # of the last image in which targets were sought
    target_text: str = ""

    def count_strange(self, size_hw: tuple[int, int]) -> int:
        """How many images of this size came one after another."""
        size, count = self.strange_size
        self.strange_size = (size_hw, count + 1 if size == size_hw else 1)
        return self.strange_size[1]

    def lose_all(self, size_hw: tuple[int, int]) -> None:
        """Nothing is known of where the objects are in an image of this size."""
        self.tracks = [Track(np.zeros(size_hw, bool), 0.0) for _ in self.objects]

    def followed(self, lost_below: float) -> list[Grounding]:
        """The objects with the masks of now. A lost one is not present."""
        return [
            _with_track(grounding, track, lost_below)
            for grounding, track in zip(self.objects, self.tracks, strict=True)
        ]

    def to_msg(self, objects: Sequence[Grounding], header: Header) -> GroundedAnswer:
        """The message of ~/held for one image. objects: what `followed` gave."""
        size_hw = self.tracks[0].mask.shape
        result = Answer(self.answer.answer, tuple(objects), Intent(self.answer.intent))
        msg = answer_to_msg(result, header, size_hw)
        msg.command_id, msg.command = self.answer.command_id, self.answer.command
        msg.chat_id, msg.model = self.answer.chat_id, self.answer.model
        msg.image_age_s = -1.0
        for found, number, track in zip(msg.objects, self.ids, self.tracks, strict=True):
            found.track_id = number
            found.track_confidence = float(track.confidence) if found.is_present else 0.0
        return msg


def _with_track(grounding: Grounding, track: Track, lost_below: float) -> Grounding:
    heat = grounding.heat
    if heat.shape != track.mask.shape:  # nobody has looked at an image of this size
        heat = np.zeros(track.mask.shape, np.float32)
    return replace(
        grounding,
        mask=track.mask,
        soft_mask=track.mask.astype(np.float32),
        heat=heat,
        box_xyxy_px=tight_box(track.mask),
        is_present=bool(track.confidence >= lost_below and track.mask.any()),
        candidates=(),
    )


def same_ids(
    objects: Sequence[Grounding],
    held: HeldObjects,
    masks: Sequence[NDArray[np.bool_]],
    new_id: Callable[[], int],
) -> list[int]:
    """For each object the number of the held one of that phrase that was in the same place.

    masks: of the held objects, at the time of the new ones; also of images of another size.
    """
    free = dict(zip(held.ids, zip(held.objects, masks, strict=True), strict=True))
    ids = []
    for grounding in objects:
        overlaps = {
            number: _iou_at_one_size(grounding.mask, mask)
            for number, (old, mask) in free.items()
            if old.phrase == grounding.phrase
        }
        best = max(overlaps, key=lambda number: overlaps[number], default=None)
        if best is None or overlaps[best] < _SAME_IOU:
            ids.append(new_id())
        else:
            ids.append(best)
            del free[best]
    return ids


def _iou_at_one_size(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    if a.shape != b.shape:  # the camera changed its resolution, not its view
        size = (a.shape[1], a.shape[0])
        b = cv2.resize(b.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return iou(a, b)
