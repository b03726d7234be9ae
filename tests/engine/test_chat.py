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

"""Conversations: what refers back, what is remembered, several things for one phrase."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_model import word_tokenizer

from flmm_ros.engine.answer import Answer, Grounding, Intent
from flmm_ros.engine.chat import MAX_TURNS, Chat
from flmm_ros.engine.errors import Cancelled, UnknownWordError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.language.phrases import is_singular
from flmm_ros.engine.language.references import refer_back
from flmm_ros.engine.language.reply import compose_reply
from flmm_ros.engine.lmm.base import Generated
from flmm_ros.engine.lmm.tokens import PromptTokens, Turn
from flmm_ros.engine.masks.candidates import separate_parts, with_candidates
from flmm_ros.engine.progress import ProgressCallback

HW = (40, 60)


def grounding(phrase: str, *boxes: tuple[int, int, int, int], score: float = 0.8) -> Grounding:
    """A phrase whose mask is these boxes; each box's pixels are a little less sure."""
    soft = np.zeros(HW, np.float32)
    for n, (x0, y0, x1, y1) in enumerate(boxes):
        soft[y0:y1, x0:x1] = 0.9 - 0.1 * n
    mask = soft > 0.5
    heat = np.zeros(HW, np.float32)
    return Grounding(phrase, mask, soft, heat, score, (0, 0, 1, 1), bool(boxes))


class Script:
    """A scene with answers prepared; keeps what it was asked."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, tuple[Turn, ...]]] = []

    def ask(
        self,
        command: str,
        intent: Intent | None = None,
        on_stage: ProgressCallback | None = None,
        *,
        history: tuple[Turn, ...] = (),
    ) -> Answer:
        self.asked.append((command, history))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def said(text: str, *phrases: str) -> Answer:
    objects = tuple(grounding(phrase, (0, 0, 9, 9)) for phrase in phrases)
    return Answer(text, objects, Intent.ANSWER_AND_GROUND)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the cube", True),
        ("the glass", True),
        ("a lens", True),
        ("the bus", True),
        ("cube", True),
        ("the cubes", False),
        ("all the balls", False),
        ("two red balls", False),
        ("the two mugs", False),
        ("these things", False),
    ],
)
def test_singular_and_plural(phrase: str, expected: bool) -> None:
    assert is_singular(phrase) is expected


@pytest.mark.parametrize(
    ("command", "named", "expected"),
    [
        ("pick it up", ["a red mug"], "pick the red mug up"),
        ("grab that one", ["the duck"], "grab the duck"),
        ("pick them up", ["a red mug", "the duck"], "pick the red mug and the duck up"),
        ("take the left one", ["the blue cube"], "take the left cube"),
        ("pick up the red mug", ["the duck"], "pick up the red mug"),
        ("which one is left of it?", ["the duck"], "which one is left of it?"),
        ("pick it up", [], "pick it up"),
    ],
)
def test_commands_refer_back(command: str, named: list[str], expected: str) -> None:
    assert refer_back(command, named) == expected


def test_a_conversation_hands_on_its_turns_and_what_it_named() -> None:
    script = Script(said("a red mug", "a red mug"), said("yes"), said("Here.", "the red mug"))
    chat = Chat(script)
    chat.say("what can I drink from?")
    chat.say("is it clean?")
    chat.say("pick it up")
    first, second = Turn("what can I drink from?", "a red mug"), Turn("is it clean?", "yes")
    assert script.asked == [
        ("what can I drink from?", ()),
        ("is it clean?", (first,)),
        ("pick the red mug up", (first, second)),
    ]
    assert chat.turns[-1] == Turn("pick the red mug up", "Here.")


def test_turns_stand_in_the_prompt_as_the_model_was_taught() -> None:
    tokens = PromptTokens(
        word_tokenizer(), "USER: <image>\n{text} ASSISTANT:", 4, "</s>USER: {text} ASSISTANT:"
    )
    history = [Turn("what is there?", "a red mug."), Turn("zzz unknown words", "yes")]
    suffix = tokens.reading("what is there?", "the blue cube.", [(0, 13)], history)
    words = tokens.tokenizer.convert_ids_to_tokens(list(suffix.ids))
    # What holds words without a token is left out of the past; of the present it is refused.
    assert " ".join(words) == (
        "what is there ? assistant : a red mug . </s> user : what is there ? assistant : "
        "the blue cube ."
    )
    (span,) = suffix.spans
    assert words[slice(*span)] == ["the", "blue", "cube"]
    with pytest.raises(UnknownWordError):
        tokens.question("zzz", history)


def test_a_scene_hands_its_history_to_the_model(
    grounder: Grounder, image: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def speak(prefix: object, ids: tuple[int, ...], **kwargs: object) -> Generated:
        asked.append(ids)
        return Generated(tuple(grounder.lmm.text().tokenizer("no").input_ids[1:]))

    monkeypatch.setattr(grounder.lmm, "generate", speak)
    chat = grounder.open(image).chat()
    chat.say("how many", Intent.ANSWER)
    chat.say("what is there?", Intent.ANSWER)
    tokenizer = grounder.lmm.text().tokenizer
    first, second = (" ".join(tokenizer.convert_ids_to_tokens(list(ids))) for ids in asked)
    assert first == "how many assistant :"
    assert second == f"{first} no </s> user : what is there ? assistant :"


def test_a_turn_that_was_cancelled_is_not_remembered() -> None:
    chat = Chat(Script(Cancelled("stop"), said("yes")))
    with pytest.raises(Cancelled):
        chat.say("is there a mug?")
    assert chat.turns == ()
    chat.say("is there a mug?")
    assert len(chat.turns) == 1


def test_the_oldest_turns_are_forgotten() -> None:
    chat = Chat(Script(*[said(str(n)) for n in range(MAX_TURNS + 3)]))
    for _ in range(MAX_TURNS + 3):
        chat.say("and now?")
    assert [turn.answer for turn in chat.turns] == [str(n) for n in range(3, MAX_TURNS + 3)]


def test_parts_of_similar_size_are_candidates_from_left_to_right() -> None:
    found = with_candidates(grounding("the cube", (40, 5, 50, 15), (5, 20, 15, 30)))
    assert found.is_ambiguous
    assert [c.box_xyxy_px for c in found.candidates] == [(5, 20, 15, 30), (40, 5, 50, 15)]
    assert all(c.is_ambiguous and c.is_present and c.phrase == "the cube" for c in found.candidates)
    np.testing.assert_array_equal(found.mask, found.candidates[1].mask)  # the best one's
    assert (found.box_xyxy_px, found.score) == ((40, 5, 50, 15), 0.8)
    # The mean over the mask is 0.85: the surer part scores above the phrase, the other below.
    scores = [c.score for c in found.candidates]
    assert scores == pytest.approx([0.8 * 0.8 / 0.85, 0.8 * 0.9 / 0.85], abs=1e-5)


def test_strays_touching_parts_and_absent_things_are_no_candidates() -> None:
    assert not with_candidates(grounding("the cube", (5, 5, 25, 25), (40, 5, 46, 11))).is_ambiguous
    assert not with_candidates(grounding("the cube", (5, 5, 15, 15), (15, 15, 25, 25))).is_ambiguous
    assert not with_candidates(grounding("the cube")).is_ambiguous
    assert separate_parts(np.zeros(HW, bool)) == []


def test_the_reply_asks_which_one_is_meant() -> None:
    cube = with_candidates(grounding("The cube", (0, 0, 9, 9), (20, 0, 29, 9), (40, 0, 49, 9)))
    text, found = compose_reply([cube])
    assert text == "I see three that could be the cube: which one do you mean?"
    start, stop = found[0].text_span or (0, 0)
    assert text[start:stop] == "the cube"
    assert {c.text_span for c in found[0].candidates} == {(start, stop)}
    text, _ = compose_reply([grounding("the mug", (0, 0, 9, 9)), cube, grounding("the duck")])
    assert text == (
        "Here is the mug, but I see no duck. "
        "I see three that could be the cube: which one do you mean?"
    )
