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

"""Says in a sentence what was pointed at, what was not there and what is left alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.language.phrases import is_singular

_ARTICLES = ("the ", "a ", "an ", "this ", "that ", "these ", "those ", "some ", "any ")
_PLURAL_DETERMINERS = ("these ", "those ", "some ", "both ", "all ", "several ", "two ", "three ")


def compose_reply(
    found: Sequence[Grounding], left_out: Collection[int] = ()
) -> tuple[str, list[Grounding]]:
    """A sentence about the groundings, and the groundings with their spans in it.

    left_out: those that are absent only because the command excludes what fits.

    "Here is the red mug." / "Here are the red mug and the cube, but I see no green duck." / "I see
    three that could be the cube: which one do you mean?"
    """
    text = ""
    spans: dict[int, tuple[int, int]] = {}

    def join(indices: list[int], words: list[str], last: str) -> None:
        nonlocal text
        for position, (index, phrase) in enumerate(zip(indices, words, strict=True)):
            if position:
                text += f" {last} " if position + 1 == len(words) else ", "
            spans[index] = (len(text), len(text) + len(phrase))
            text += phrase

    present = [i for i, g in enumerate(found) if g.is_present and not g.is_ambiguous]
    absent = [i for i, g in enumerate(found) if not g.is_present]
    if present:
        names = [_lower_article(found[i].phrase) for i in present]
        plural = (
            len(names) > 1 or names[0].startswith(_PLURAL_DETERMINERS) or not is_singular(names[0])
        )
        text += "Here are " if plural else "Here is "
        join(present, names, "and")
    if absent:
        text += ", but I see no " if present else "I see no "
        text += "other " if left_out and set(absent) <= set(left_out) else ""
        join(absent, [_without_article(found[i].phrase) for i in absent], "or")
        if not present:
            text += " here"
    text += "." if text else ""
    for i, g in enumerate(found):
        if g.is_ambiguous:
            text += " " if text else ""
            text += f"I see {_count(len(g.candidates))} that could be "
            join([i], [_lower_article(g.phrase)], "")
            text += ": which one do you mean?"
    return text, [_placed(g, spans[i]) for i, g in enumerate(found)]


def leave_alone(excluded: Sequence[str]) -> str:
    """What is not to be touched: "I leave the red mug and the duck alone" as a sentence.

    excluded: phrases; none: "I point at nothing."
    """
    if not excluded:
        return "I point at nothing."
    names = [_lower_article(phrase) for phrase in excluded]
    head = ", ".join(names[:-1])
    return f"I leave {head} and {names[-1]} alone." if head else f"I leave {names[0]} alone."


def _placed(grounding: Grounding, span: tuple[int, int]) -> Grounding:
    """With its place in the sentence, its candidates too."""
    candidates = tuple(dataclasses.replace(c, text_span=span) for c in grounding.candidates)
    return dataclasses.replace(grounding, text_span=span, candidates=candidates)


def _count(number: int) -> str:
    words = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[number - 2] if 2 <= number <= len(words) + 1 else str(number)


def _lower_article(phrase: str) -> str:
    """ "The red mug" in the middle of a sentence; names keep their capitals."""
    lowered = phrase[:1].lower() + phrase[1:]
    return lowered if lowered.startswith(_ARTICLES + _PLURAL_DETERMINERS) else phrase


def _without_article(phrase: str) -> str:
    lowered = phrase.lower()
    for article in _ARTICLES:
        if lowered.startswith(article) and len(phrase) > len(article):
            return phrase[len(article) :]
    return phrase
