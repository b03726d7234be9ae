"""Says in a sentence what was pointed at and what was not there.

Does not know about: models, how anything was found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from flmm_ros.engine.types import Grounding

_ARTICLES = ("the ", "a ", "an ", "this ", "that ", "these ", "those ", "some ", "any ")
_PLURAL_DETERMINERS = ("these ", "those ", "some ", "both ", "all ", "several ", "two ", "three ")


def compose_reply(found: Sequence[Grounding]) -> tuple[str, list[Grounding]]:
    """A sentence about the groundings, and the groundings with their spans in it.

    "Here is the red mug." / "Here are the red mug and the cube, but I see no green duck."
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

    present = [i for i, g in enumerate(found) if g.is_present]
    absent = [i for i, g in enumerate(found) if not g.is_present]
    if present:
        names = [_lower_article(found[i].phrase) for i in present]
        plural = len(names) > 1 or names[0].startswith(_PLURAL_DETERMINERS)
        text += "Here are " if plural else "Here is "
        join(present, names, "and")
    if absent:
        text += ", but I see no " if present else "I see no "
        join(absent, [_without_article(found[i].phrase) for i in absent], "or")
        if not present:
            text += " here"
    text += "."
    return text, [dataclasses.replace(g, text_span=spans[i]) for i, g in enumerate(found)]


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
