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

"""A conversation about one image: what was said before helps to understand what is said now.

    chat = scene.chat()
    chat.say("what can I drink from?")    # "a red mug"
    chat.say("which one is left of it?")  # the language model reads the turns before
    chat.say("pick it up")                # "it" is put in by rule: "pick the red mug up"
    chat.say("no, not that one")          # "no, not the red mug": a prohibition

The rules that put in what is referred to stand in language/references.py.
"""

from __future__ import annotations

from typing import Protocol

from flmm_ros.engine.answer import Answer, Intent
from flmm_ros.engine.language.normalisation import normalised
from flmm_ros.engine.language.references import refer_back
from flmm_ros.engine.lmm.tokens import Turn
from flmm_ros.engine.progress import ProgressCallback

MAX_TURNS = 16  # older ones are forgotten: they cost time, and mislead more than they help


class Asked(Protocol):
    """What a conversation is about: a scene."""

    def ask(
        self,
        command: str,
        intent: Intent | None = None,
        on_stage: ProgressCallback | None = None,
        *,
        history: tuple[Turn, ...] = (),
    ) -> Answer:
        """Answers and grounds."""
        ...


class Chat:
    """Turns on one image. A turn that fails or is cancelled is not remembered."""

    def __init__(self, scene: Asked) -> None:
        self._scene = scene
        self._turns: tuple[Turn, ...] = ()
        self._named: tuple[str, ...] = ()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was said so far, oldest first."""
        return self._turns

    def say(
        self,
        command: str,
        intent: Intent | None = None,
        on_stage: ProgressCallback | None = None,
    ) -> Answer:
        """The answer to one more command; arguments and errors as for `Scene.ask`."""
        meant = command
        if isinstance(command, str):  # what is no text, the scene refuses
            meant = refer_back(normalised(command).text, self._named)
        answer = self._scene.ask(meant, intent, on_stage, history=self._turns)
        self._turns = (*self._turns, Turn(meant, answer.text))[-MAX_TURNS:]
        # An answer without objects ("yes") leaves the talk where it was.
        named = dict.fromkeys(g.phrase for g in answer.objects if g.is_present)
        self._named = tuple(named) or self._named
        return answer
