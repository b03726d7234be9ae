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

"""The answer to a command as a message: what the engine found, or why there is none."""

from __future__ import annotations

from std_msgs.msg import Header

from flmm_ros.engine.answer import PROHIBITION_TEXT, Answer, Intent
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.commands.refusals import Refusal
from flmm_ros.ros.messages import conversions


def answer_to_msg(result: Answer, header: Header, size_hw: tuple[int, ...]) -> GroundedAnswer:
    """The engine's part of the message."""
    labels = conversions.labels_of(result.objects)
    stages, stage_ms = conversions.stage_times(result.timings_ms)
    size = (size_hw[0], size_hw[1])
    is_prohibition = result.intent is Intent.PROHIBITION
    return GroundedAnswer(
        header=header,
        intent=result.intent.value,
        answer=result.text,
        objects=[
            conversions.object_to_msg(grounding, label)
            for grounding, label in zip(result.objects, labels, strict=True)
        ],
        mask=conversions.image_to_msg(conversions.label_image(result.objects, size), header),
        stages=stages,
        stage_ms=stage_ms,
        error_code=GroundedAnswer.PROHIBITION if is_prohibition else GroundedAnswer.OK,
        error_text=PROHIBITION_TEXT if is_prohibition else "",
    )


def refusal_to_msg(
    command: Command, refusal: Refusal, *, model: str, max_chars: int
) -> GroundedAnswer:
    """The answer message of a refusal. A far too long command is not sent back in full."""
    header = Header() if refusal.header is None else refusal.header
    return GroundedAnswer(
        header=header,
        command_id=command.command_id,
        command=command.text[:max_chars],
        chat_id=command.chat_id,
        model=model,
        image_age_s=-1.0,
        error_code=refusal.code,
        error_text=refusal.text,
    )
