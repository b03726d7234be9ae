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

"""One command as it came, and what can be refused of it without a model."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from flmm_ros.engine.answer import REQUESTED_INTENTS
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.refusals import Refusal
from flmm_ros.ros.images.newest_image import ImageMsg

INTENTS: tuple[str, ...] = tuple(intent.value for intent in REQUESTED_INTENTS)


@dataclass(frozen=True)
class Command:
    """A sentence from the topic or the action, as it came."""

    command_id: str
    text: str
    intent: str = ""
    image: ImageMsg | None = None  # None: the newest one of the camera
    camera: str = ""  # empty: the image topic
    chat_id: str = ""  # empty: on its own
    is_own: bool = False  # of the node itself, to ground held objects again: nobody is answered
    on_progress: Callable[[str, str], None] = lambda stage, partial_text: None
    on_done: Callable[[GroundedAnswer], None] = lambda msg: None


def check_command(command: Command, max_chars: int, cameras: Collection[str]) -> None:
    """What can be refused without a model and without waiting.

    Raises:
        Refusal: empty or too long text, an unknown intent or camera.
    """
    if not command.text.strip():
        raise Refusal(
            GroundedAnswer.EMPTY_COMMAND,
            "expected a sentence such as 'pick up the red mug', got an empty command",
        )
    if len(command.text) > max_chars:
        raise Refusal(
            GroundedAnswer.COMMAND_TOO_LONG,
            f"expected at most {max_chars} characters, got {len(command.text)}; "
            "say it shorter or raise the parameter max_command_chars",
        )
    if command.intent and command.intent not in INTENTS:
        raise Refusal(
            GroundedAnswer.BAD_INTENT,
            f"expected one of {', '.join(INTENTS)} or nothing, got {command.intent!r}",
        )
    if command.camera not in cameras:
        known = ", ".join(name for name in cameras if name) or "none; see the parameter cameras"
        raise Refusal(
            GroundedAnswer.BAD_CAMERA,
            f"expected one of the cameras ({known}) or nothing, got {command.camera!r}",
        )
