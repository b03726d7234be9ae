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

"""What a sentence wants, which words name objects, and what is said in return: tables."""

from __future__ import annotations

import numpy as np
import pytest

from flmm_ros.engine.answer import Grounding, Intent
from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.language.intent import checked_command, find_intent
from flmm_ros.engine.language.phrases import command_phrases, find_phrases
from flmm_ros.engine.language.reply import compose_reply

GROUND, BOTH, ANSWER = Intent.GROUND, Intent.ANSWER_AND_GROUND, Intent.ANSWER


@pytest.mark.parametrize(
    ("command", "intent", "phrases"),
    [
        ("Pick up the red mug", GROUND, ["the red mug"]),
        ("red mug", GROUND, ["red mug"]),
        ("grab red mug", GROUND, ["red mug"]),
        ("the red mug and the blue ball", GROUND, ["the red mug", "the blue ball"]),
        ("Put the red mug on the blue cube.", GROUND, ["the red mug", "the blue cube"]),
        ("Please hand me the red mug.", GROUND, ["the red mug"]),
        ("robot, grab the yellow mug, please", GROUND, ["the yellow mug"]),
        ("Can you pick up the yellow duck?", GROUND, ["the yellow duck"]),
        ("I want the red mug", GROUND, ["the red mug"]),
        ("find the two mugs", GROUND, ["the two mugs"]),
        ("the red one", GROUND, ["the red one"]),
        ("pick up the ring", GROUND, ["the ring"]),
        ("bring me the mug on the left", GROUND, ["the mug"]),
        ("take my coffee mug and the spoon next to it", GROUND, ["my coffee mug", "the spoon"]),
        ("give me something to drink from", BOTH, None),
        ("find me something I can stack.", BOTH, None),
        ("what can I drink from?", BOTH, None),
        ("which object is closest to you?", BOTH, None),
        ("where is the red mug?", BOTH, None),
        ("Is the red mug left of the blue cube?", BOTH, None),
        ("describe the image.", BOTH, None),
        ("Please give me a description of the image.", BOTH, None),
        ("what do you see?", BOTH, None),
        ("show me what is on the left", BOTH, None),
        ("point at it", BOTH, None),
        ("how many balls are there?", ANSWER, None),
        ("count the balls.", ANSWER, None),
        ("is there a green duck?", ANSWER, None),
        ("can you see the red mug?", ANSWER, None),
        ("what color is the mug?", ANSWER, None),
        ("Which colour does the cube have?", ANSWER, None),
    ],
)
def test_commands(command: str, intent: Intent, phrases: list[str] | None) -> None:
    assert find_intent(command) is intent
    if phrases is not None:
        assert [p.text for p in command_phrases(command)] == phrases


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("yes, there is a red mug.", ["a red mug"]),
        ("no, there is no green duck.", []),
        ("the red mug is on the left near the front.", ["the red mug"]),
        (
            "a red mug, an orange cube and a blue ball.",
            ["a red mug", "an orange cube", "a blue ball"],
        ),
        ("there is nothing like that here.", []),
        ("three.", []),
        ("the ring is red.", ["the ring"]),
        ("yes, the red mug is left of the blue cube.", ["the red mug", "the blue cube"]),
        ("A man is riding a brown horse next to two dogs.", ["A man", "a brown horse", "two dogs"]),
        ("The image features a stop sign prominently displayed.", ["a stop sign"]),
        ("A dog holding the kitchen knife", ["A dog", "the kitchen knife"]),
        ("", []),
    ],
)
def test_answers(text: str, phrases: list[str]) -> None:
    found = find_phrases(text)
    assert [p.text for p in found] == phrases
    assert all(text[slice(*p.text_span)] == p.text for p in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "only blanks"),
        (" \t\n ", "only blanks"),
        ("x" * 100_000, "at most 1000 characters, got 100000"),
        ("?!?! 0101", "expected words"),
        (7, "expected text, got int"),
    ],
)
def test_what_is_no_command_is_refused(text: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        checked_command(text, 1000)


def test_blanks_are_evened_out() -> None:
    assert checked_command("  the \n red   mug ", 100) == "the red mug"


def _seen(phrase: str, is_present: bool = True) -> Grounding:
    empty = np.zeros((2, 2), np.float32)
    return Grounding(phrase, empty > 1, empty, empty, 0.5, (0, 0, 0, 0), is_present)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([_seen("the red mug")], "Here is the red mug."),
        ([_seen("The red mug")], "Here is the red mug."),
        ([_seen("the green duck", False)], "I see no green duck here."),
        ([_seen("a"), _seen("the b")], "Here are a and the b."),
        ([_seen("a b"), _seen("the c"), _seen("the d")], "Here are a b, the c and the d."),
        (
            [_seen("the green duck", False), _seen("the red mug")],
            "Here is the red mug, but I see no green duck.",
        ),
        ([_seen("the a", False), _seen("b", False)], "I see no a or b here."),
    ],
)
def test_replies(found: list[Grounding], text: str) -> None:
    reply, objects = compose_reply(found)
    assert reply == text
    for grounding in objects:
        assert grounding.text_span is not None
        said = text[slice(*grounding.text_span)]
        assert grounding.phrase.lower().endswith(said.lower())
