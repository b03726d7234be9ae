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

"""Nothing that a command forbids or leaves out is ever a target of it: tables of wordings."""

from __future__ import annotations

import pytest

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.language.meaning import understand

MUG, BALL = "the red mug", "the blue ball"


@pytest.mark.parametrize(
    "command",
    [
        "the red mug stays where it is",
        "the red mug stays put",
        "the red mug stays",
        "the red mug should stay where it is",
        "the red mug has to stay there",
        "the red mug remains on the table",
        "the red mug can stay where it is",
        "make sure the red mug stays where it is",
        "keep the red mug where it is",
        "keep the red mug in place",
        "leave the red mug where it is",
        "leave the red mug untouched",
        "the red mug must not be moved",
        "the red mug mustn't be touched",
        "the red mug can't be moved",
        "the red mug shouldn't move",
        "the red mug is not to be touched",
        "the red mug is never to be touched",
        "nobody touches the red mug",
        "no one is to touch the red mug",
        "hands off the red mug",
        "hands off of the red mug!",
        "the red mug is off limits",
        "the red mug is off-limits",
        "the red mug is forbidden",
        "the red mug is taboo",
        "no touching the red mug",
        "no grabbing the red mug",
        "ignore the red mug",
        "forget the red mug",
        "forget about the red mug",
        "skip the red mug",
        "I don't want the red mug",
        "I do not want you to touch the red mug",
        "you are not allowed to move the red mug",
        "it is forbidden to touch the red mug",
        "please refrain from touching the red mug",
        "anything but the red mug",
        "the red mug is hot, don't touch it",
        "the red mug is fragile so do not touch it",
        "the red mug is not for you",
        "the red mug: do not touch",
        "steer clear of the red mug",
    ],
)
def test_a_thing_that_is_only_forbidden_is_no_target(command: str) -> None:
    meaning = understand(command)
    assert MUG not in [p.text for p in meaning.targets] or meaning.unclear
    assert meaning.is_prohibition or meaning.unclear


@pytest.mark.parametrize(
    "command",
    [
        "the red mug stays where it is",
        "the red mug stays put",
        "the red mug should stay where it is",
        "keep the red mug where it is",
        "the red mug must not be moved",
        "the red mug mustn't be touched",
        "nobody touches the red mug",
        "hands off the red mug",
        "the red mug is off limits",
        "no touching the red mug",
        "ignore the red mug",
        "forget the red mug",
        "forget about the red mug",
        "skip the red mug",
    ],
)
def test_prohibitions_name_what_they_forbid(command: str) -> None:
    meaning = understand(command)
    assert (meaning.intent, meaning.unclear) == (Intent.PROHIBITION, "")
    assert [p.text for p in meaning.excluded] == [MUG]


@pytest.mark.parametrize(
    "command",
    [
        "take the blue ball, the red mug stays where it is",
        "take the blue ball and the red mug stays put",
        "take the blue ball; the red mug stays",
        "the red mug stays where it is, take the blue ball",
        "the red mug stays put and you take the blue ball",
        "take the blue ball, the red mug is off limits",
        "the red mug is off limits, take the blue ball",
        "take the blue ball but the red mug must not be moved",
        "keep the red mug where it is and take the blue ball",
        "take the blue ball and keep the red mug where it is",
        "hands off the red mug, take the blue ball",
        "take the blue ball, hands off the red mug",
        "take the blue ball, ignore the red mug",
        "ignore the red mug and take the blue ball",
        "forget the red mug, take the blue ball",
        "forget about the red mug and take the blue ball",
        "skip the red mug and take the blue ball",
        "pick up the blue ball without moving the red mug",
        "without moving the red mug, pick up the blue ball",
        "pick up the blue ball without the red mug being touched",
        "when you take the blue ball, don't touch the red mug",
        "while you take the blue ball, do not touch the red mug",
        "take the blue ball, no touching the red mug",
        "take the blue ball and nobody touches the red mug",
        "take the blue ball while leaving the red mug alone",
        "take the blue ball while the red mug stays where it is",
    ],
)
def test_one_thing_is_meant_and_the_other_forbidden(command: str) -> None:
    meaning = understand(command)
    assert [p.text for p in meaning.targets] == [BALL]
    assert [p.text for p in meaning.excluded] == [MUG]
    assert (meaning.intent, meaning.unclear) == (Intent.GROUND, "")


@pytest.mark.parametrize(
    ("command", "target", "excluded"),
    [
        ("all balls except the red one", "balls", "the red ball"),
        ("take all balls except the red one", "balls", "the red ball"),
        ("all balls but the red one", "balls", "the red ball"),
        ("all mugs except for the red one", "mugs", MUG),
        ("all the mugs except for the red one", "the mugs", MUG),
        ("all the mugs bar the red one", "the mugs", MUG),
        ("all the mugs save the red one", "the mugs", MUG),
        ("all the mugs save for the red one", "the mugs", MUG),
        ("all the mugs minus the red one", "the mugs", MUG),
        ("every mug bar the red one", "every mug", MUG),
        ("all the mugs apart from the red one", "the mugs", MUG),
        ("all the mugs with the exception of the red one", "the mugs", MUG),
        ("all mugs excluding the red one", "mugs", MUG),
        ("the mugs without the red one", "the mugs", MUG),
        ("the ball that is anything but red", "the ball", "the red ball"),
        ("pick up the ball that is anything but red", "the ball", "the red ball"),
        ("the ball that is definitely not red", "the ball", "the red ball"),
        ("the mug which is clearly not the red one", "the mug", MUG),
    ],
)
def test_exceptions(command: str, target: str, excluded: str) -> None:
    meaning = understand(command)
    assert [p.text for p in meaning.targets] == [target]
    assert [p.text for p in meaning.excluded] == [excluded]
    assert (meaning.intent, meaning.unclear) == (Intent.GROUND, "")


@pytest.mark.parametrize(
    "command",
    [
        "take everything bar the red mug",
        "take everything save the red mug",
        "take everything minus the red mug",
        "everything except for the red mug",
        "take the blue ball, the duck and the red mug must stay",
        "take the red mug, don't touch it",
        "the red mug is out of bounds",
    ],
)
def test_what_cannot_be_resolved_is_refused_or_carries_nothing_out(command: str) -> None:
    meaning = understand(command)
    assert meaning.unclear or meaning.is_prohibition


@pytest.mark.parametrize(
    ("command", "target"),
    [
        ("take the candy bar", "the candy bar"),
        ("the bar of soap", "the bar of soap"),
        ("press the save button", "the save button"),
        ("the minus sign", "the minus sign"),
        ("grab the spare tire", "the spare tire"),
        ("the forget-me-not", "the forget-me-not"),
        ("find the skip", "the skip"),
        ("the ball that stays on the table", "the ball that stays on the table"),
        ("the no parking sign", "the no parking sign"),
        ("pick up the mug with no handle", "the mug with no handle"),
        ("pick up the red mug and don't drop it", MUG),
        ("lift the red mug but don't spill it", MUG),
        ("pick up all three yellow cubes", "three yellow cubes"),
        ("take all red balls", "red balls"),
        ("the still life", "the still life"),
        ("the ball that is nothing but red", "the red ball"),
        ("pick up the red mug carefully, it is hot", MUG),
    ],
)
def test_words_that_only_look_like_an_exclusion(command: str, target: str) -> None:
    meaning = understand(command)
    assert [p.text for p in meaning.targets] == [target]
    assert (meaning.intent, meaning.excluded, meaning.unclear) == (Intent.GROUND, (), "")


@pytest.mark.parametrize(
    "command",
    [
        "I'd rather you didn't grab the red mug",
        "please do nothing with the red mug",
        "I hope nobody will ever need to lift the red mug",
        "you cannot take the red mug",
    ],
)
def test_a_negative_word_that_no_rule_knows_is_never_carried_out(command):
    meaning = understand(command)
    assert not meaning.targets and (meaning.unclear or meaning.is_prohibition)


@pytest.mark.parametrize(
    "command",
    [
        "I don't have a cup, hand me the red mug",
        "why not pick up the red mug",
        "there is nothing to drink here, so bring me the red mug",
        "pick up the red mug, nothing else",
    ],
)
def test_a_negative_word_of_another_clause_changes_nothing(command):
    assert [phrase.text for phrase in understand(command).targets] == ["the red mug"]
