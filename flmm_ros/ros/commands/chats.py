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

"""Conversations by their id: which image each is about, and what was said.

Only the newest few are kept, because each holds an image and its encoding. Only the worker's thread
uses this.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.engine.answer import Answer, Intent
from flmm_ros.engine.progress import ProgressCallback
from flmm_ros.ros.depth.depth_images import DepthWatch


class Chat(Protocol):
    """What the engine offers for one conversation."""

    def say(
        self,
        command: str,
        intent: Intent | None = None,
        on_stage: ProgressCallback | None = None,
    ) -> Answer:
        """Answers and grounds, knowing what was said before."""
        ...


class Scene(Protocol):
    """What the engine offers for one image."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3]; not to be written to."""
        ...

    def chat(self) -> Chat:
        """A conversation about the image."""
        ...


@dataclass(frozen=True)
class Conversation:
    """A conversation and the image it is about; `age_s` was the image's at the first command.
    header: of the image, whose pixels the scene of the chat keeps and nobody else.
    depth: finds the depth that belongs to the image; None where depth is off."""

    chat: Chat
    header: Header
    scene: Scene
    age_s: float
    depth: DepthWatch | None = None


class Chats:
    """The newest conversations; the one that was silent longest goes first."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Conversation] = OrderedDict()

    def get(self, chat_id: str, begin: Callable[[], Conversation], most: int) -> Conversation:
        """The conversation of this id, begun now if there is none."""
        found = self._by_id.pop(chat_id, None) or begin()
        while len(self._by_id) >= most:
            self._by_id.popitem(last=False)
        self._by_id[chat_id] = found
        return found

    def clear(self) -> None:
        """Forgets all: the model they talked to is gone."""
        self._by_id.clear()
