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

"""Finds the words that can be pointed at: noun phrases in answers, and the object of a command.

Rules for English: a phrase begins with a determiner and ends before a preposition, a verb, a
conjunction or a punctuation mark. Words about the picture itself ("the image"), about places in it
("the left") and pronouns are no objects.
"""

from __future__ import annotations

from collections.abc import Sequence

from flmm_ros.engine.answer import Phrase
from flmm_ros.engine.language.normalisation import NormalText, normalised
from flmm_ros.engine.language.words import (
    COMMAND_FILLERS,
    COMMANDS,
    DETERMINERS,
    ENDS,
    HOMOGRAPHS,
    ING_NOUNS,
    LY_ADJECTIVES,
    NEGATIVE_NAMES,
    NO_OBJECTS,
    NUMBERS,
    Word,
    words_of,
)

_PLURALS = NUMBERS - {"one"} | frozenset(("both", "all", "these", "those"))
_ARTICLES = frozenset(("the", "a", "an", "my", "your", "his", "her", "its", "our", "their"))
# Ends in -s and is one thing all the same.
_S_NOUNS = frozenset(("lens", "gas", "canvas", "atlas", "chaos"))
_NEGATIONS = frozenset(("not", "isn't", "aren't", "wasn't", "weren't"))


def find_phrases(text: str) -> list[Phrase]:
    """The noun phrases of an answer, in order, each with its span of characters in it.

    Negated ones ("there is no green duck", "not the red mug") are left out: there is nothing to
    point at.
    """
    normal = normalised(text)
    return [_phrase(normal, words) for words in _noun_phrases(words_of(normal.text))]


def command_phrases(command: str) -> list[Phrase]:
    """The noun phrases of a command, or its bare object ("pick up red mug", "mug").

    What of them is meant, and what is not, tells `understand`.
    """
    normal = normalised(command)
    words = words_of(normal.text)
    found = _noun_phrases(words) or bare_phrases(words)
    return [_phrase(normal, words) for words in found]


def bare_phrases(words: Sequence[Word]) -> list[Sequence[Word]]:
    """The objects of a command that names them without a determiner: "grab red mug"."""
    i = 0
    while i < len(words) and (not words[i].is_word or words[i].lower in COMMANDS | COMMAND_FILLERS):
        i += 1
    found: list[Sequence[Word]] = []
    while i < len(words):
        end = chunk_end(words, i)
        last = trimmed(words, i, end)
        if last > i:
            found.append(words[i:last])
        i = max(end, i) + 1
    return found


def is_imperative(command: str) -> bool:
    """Whether a command begins with something to do to an object: "pick", "show", "find"."""
    first = next((w for w in words_of(normalised(command).text) if w.is_word), None)
    return first is not None and first.lower in COMMANDS


def is_singular(phrase: str) -> bool:
    """Whether a phrase means one thing: "the cube", but not "the cubes", "two balls", "all of it".

    By its first word and the last word of its name; what it cannot tell it takes for singular.
    """
    words = words_of(normalised(phrase).text)
    name = [w.lower for w in words if w.is_word]
    if not name or name[0] in _PLURALS or (len(name) > 1 and name[1] in _PLURALS):
        return False
    last = name[-1]
    if words[0].lower in DETERMINERS:  # "the mug with stripes" is one mug
        head = trimmed(words, 1, chunk_end(words, 1))
        last = words[head - 1].lower if head > 1 else last
    return not last.endswith("s") or last.endswith(("ss", "us", "is")) or last in _S_NOUNS


def singular(noun: str) -> str:
    """ "mugs" -> "mug", "boxes" -> "box", "bunnies" -> "bunny"; others as they are."""
    lower = noun.lower()
    if not lower.endswith("s") or lower.endswith(("ss", "us", "is")) or lower in _S_NOUNS:
        return noun
    if lower.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    return noun[:-2] if lower.endswith(("sses", "xes", "ches", "shes", "zes")) else noun[:-1]


def noun_of(phrase: str) -> str:
    """The noun of a phrase: "mug" of "the red mug left of the ball"; its last word where unsure."""
    words = words_of(phrase)
    start = 1 if words and words[0].lower in DETERMINERS else 0
    end = trimmed(words, start, chunk_end(words, start))
    return words[end - 1].text if end > start else (phrase.split() or [""])[-1]


def chunk_end(words: Sequence[Word], start: int) -> int:
    """One past the last word of the phrase whose words begin at `start`."""
    for i in range(start, len(words)):
        word = words[i].lower
        if words[i].is_pictograph:
            continue  # "the 🔴 mug"
        if not words[i].is_word:
            return i
        if _is_name_all_the_same(words, start, i):
            continue
        if word in ENDS:
            return i
        if word in DETERMINERS and not (i == start and word in NUMBERS) and word != "one":
            return i  # "the two mugs" and "the red one" go on, "the mug the cube" does not
        if i > start and is_aside(word):
            return i
    return len(words)


def trimmed(words: Sequence[Word], start: int, end: int) -> int:
    """One past the last word that names something one can point at; `start` where none does."""
    only_signs = not any(w.is_word for w in words[start:end])
    while end > start:
        head = words[end - 1].lower
        is_pronoun = head in ("one", "ones") and end - start > 1  # "the red one"
        is_name = any(c.isalpha() for c in head) and (is_pronoun or head not in NO_OBJECTS)
        if is_name or (only_signs and words[end - 1].is_pictograph):
            break
        end -= 1
    return end


def _noun_phrases(words: Sequence[Word]) -> list[Sequence[Word]]:
    found: list[Sequence[Word]] = []
    i = 0
    while i < len(words):
        word = words[i].lower
        if word not in DETERMINERS:
            i += 1
            continue
        end = chunk_end(words, i + 1)
        last = trimmed(words, i + 1, end)
        is_negated = word == "no" or (i > 0 and words[i - 1].lower in _NEGATIONS)
        if not is_negated and last > i + 1:
            found.append(words[i:last])
        i = max(end, i + 1)
    return found


def _is_name_all_the_same(words: Sequence[Word], start: int, i: int) -> bool:
    """ "the can", "the blue can", "the off switch", "the no entry sign": no verb, no negation."""
    has_article = start > 0 and words[start - 1].lower in _ARTICLES
    if not has_article:
        return False
    word = words[i].lower
    if i == start:
        return word in NEGATIVE_NAMES or word in HOMOGRAPHS
    is_last = i + 1 == len(words) or not words[i + 1].is_word or words[i + 1].lower in ENDS
    return word == "can" and is_last


def is_aside(word: str) -> bool:
    """ "sitting", "prominently": what a thing does, or how, once the thing has been named."""
    if len(word) > 5 and word.endswith("ing"):
        return word not in ING_NOUNS
    return len(word) > 5 and word.endswith("ly") and word not in LY_ADJECTIVES


def _phrase(normal: NormalText, words: Sequence[Word]) -> Phrase:
    """As it was typed."""
    start, end = normal.typed_span((words[0].start, words[-1].end))
    return Phrase(normal.typed[start:end], (start, end))
