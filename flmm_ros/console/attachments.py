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

"""Which answer a heat map or a point cloud belongs to: the node publishes them on their own topics.

They carry the stamp of the image and come in the order of the answers, at most one of a kind for
each answer, but they may arrive before the answer or be lost. An attachment goes to the first
answer with its stamp that still waits for one of its kind and that it fits in size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flmm_ros.console.answers import heat_indices
from flmm_ros.msg import GroundedAnswer

HEAT, POINTS, SCENE = "heat", "points", "scene"
_KEPT = 64
_EARLY = 8  # attachments of nobody yet; a scene may have megabytes

OnMatch = Callable[[GroundedAnswer, str, Any], None]


@dataclass
class _Waiting:
    answer: GroundedAnswer
    kinds: set[str] = field(default_factory=set)


class Attachments:
    """Joins answers of ~/grounding with their attachments. Used by one thread.

    Args:
        on_match: called with the answer, the kind and the attachment's message.
    """

    def __init__(self, on_match: OnMatch) -> None:
        self._on_match = on_match
        self._answers: deque[_Waiting] = deque(maxlen=_KEPT)
        self._early: deque[tuple[str, Any]] = deque(maxlen=_EARLY)

    def add_answer(self, answer: GroundedAnswer) -> None:
        """Any answer of the node, whoever asked, in order."""
        kinds = {HEAT} if answer.objects else set()
        if any(found.has_target and not found.is_ambiguous for found in answer.objects):
            kinds |= {POINTS, SCENE}  # the node publishes them for the first such object
        if not kinds:
            return
        self._answers.append(_Waiting(answer, kinds))
        early, self._early = self._early, deque(maxlen=_EARLY)
        for kind, msg in early:
            self.add_attachment(kind, msg)

    def add_attachment(self, kind: str, msg: Any) -> None:
        """An attachment, in order within its kind."""
        for waiting in self._answers:
            if kind in waiting.kinds and _belongs(kind, msg, waiting.answer):
                waiting.kinds.discard(kind)
                self._on_match(waiting.answer, kind, msg)
                return
        self._early.append((kind, msg))


def _belongs(kind: str, msg: Any, answer: GroundedAnswer) -> bool:
    """Points may be in another frame than the image; heat maps lie one under another."""
    if msg.header.stamp != answer.header.stamp:
        return False
    if kind != HEAT:
        return True
    height_px = answer.mask.height * (max(heat_indices(answer)) + 1)
    return bool(msg.width == answer.mask.width and msg.height == height_px)
