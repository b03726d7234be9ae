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

"""Looks at every selected image once, in order, with the engine alone: repeatable, without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil

from flmm_ros.engine.answer import PROHIBITION_TEXT, Answer, Intent
from flmm_ros.engine.errors import FlmmError, ImageError
from flmm_ros.replay.judging.judge import AnsweredObject, AnswerJudge, GivenAnswer
from flmm_ros.replay.judging.judged_answer import JudgedAnswer
from flmm_ros.replay.recording.bag import Bag
from flmm_ros.replay.recording.recorded_frames import RecordedFrame, frames
from flmm_ros.replay.runs.schedule import FrameCounts, all_commands, due, selected
from flmm_ros.replay.scenario import Scenario, ScenarioCommand

if TYPE_CHECKING:  # seconds to load, and not needed to compare or to read results
    from flmm_ros.engine.chat import Chat
    from flmm_ros.engine.grounder import Grounder

_MB = 1 << 20
_OWN_CODES = ("BAD_COMMAND", "UNKNOWN_WORD", "BAD_IMAGE")  # others are the model's: MODEL_ERROR


def replay_lockstep(
    bag: Bag, scenario: Scenario, grounder: Grounder, counts: FrameCounts
) -> Iterator[JudgedAnswer]:
    """A row for every command on every image it is said on.

    counts: filled while the rows come.

    Raises:
        BagError, ConfigError: the recording has not what the scenario names.
    """
    asker, judge = _Asker(grounder), AnswerJudge(bag.name)
    chosen = selected(frames(bag, scenario), scenario.frames, counts)
    commands = all_commands(bag, scenario)
    for moment in due(chosen, commands, counts):
        is_bad = False
        for number, command in moment.commands:
            given = asker.ask(moment.frame, number, command)
            is_bad = is_bad or given.error == "BAD_IMAGE"
            yield judge.judge(moment.frame, number, command.say, command.expect, given)
        counts.used -= is_bad
        counts.dropped["bad_image"] += is_bad
        if moment.commands and not is_bad:
            counts.add_gaps(judge.gaps_of(moment.frame))


class _Asker:
    """Puts commands to the engine as the node does, refusals included."""

    def __init__(self, grounder: Grounder) -> None:
        self._grounder = grounder
        self._chats: dict[str, tuple[int, Chat]] = {}  # by name: which command began it
        self._process = psutil.Process()

    def ask(self, frame: RecordedFrame, number: int, command: ScenarioCommand) -> GivenAnswer:
        try:
            answer = self._answer(frame, number, command)
        except FlmmError as error:
            return GivenAnswer("", _code_of(error, command, self._grounder), str(error))
        return given_answer_from(answer, self._process.memory_info().rss / _MB)

    def _answer(self, frame: RecordedFrame, number: int, command: ScenarioCommand) -> Answer:
        known = self._chats.get(command.chat)
        # Said again by the command that began it, a conversation begins anew.
        if command.chat and known is not None and known[0] != number:
            return known[1].say(command.say, command.intent)
        chat = self._grounder.open(frame.rgb()).chat()
        if command.chat:
            self._chats[command.chat] = (number, chat)
        return chat.say(command.say, command.intent)


def given_answer_from(answer: Answer, rss_mb: float | None = None) -> GivenAnswer:
    """The engine's answer as it is judged."""
    objects = tuple(
        AnsweredObject(g.phrase, g.score, g.is_present, g.is_ambiguous, g.box_xyxy_px, g.mask)
        for g in answer.objects
    )
    is_prohibition = answer.intent is Intent.PROHIBITION
    return GivenAnswer(
        text=answer.text,
        error="PROHIBITION" if is_prohibition else "OK",
        error_text=PROHIBITION_TEXT if is_prohibition else "",
        intent=answer.intent.value,
        objects=objects,
        times_ms=dict(answer.timings_ms),
        rss_mb=rss_mb,
    )


def _code_of(error: FlmmError, command: ScenarioCommand, grounder: Grounder) -> str:
    """The code that the node gives this refusal."""
    if isinstance(error, ImageError):
        return "BAD_IMAGE"
    if not command.say.strip():
        return "EMPTY_COMMAND"
    if len(command.say) > grounder.config.max_command_chars:
        return "COMMAND_TOO_LONG"
    return error.code if error.code in _OWN_CODES else "MODEL_ERROR"
