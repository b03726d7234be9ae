"""Finds the words that can be pointed at: noun phrases in answers, and the object of a command.

Rules for English: a phrase begins with a determiner and ends before a preposition, a verb, a
conjunction or a punctuation mark. Words about the picture itself ("the image"), about places in it
("the left") and pronouns are no objects.

Does not know about: tokens, images, the language model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from flmm_ros.engine.answer import Phrase

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*|[^\w\s]", re.UNICODE)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBERS = _words("one two three four five six seven eight nine ten several many few")
_DETERMINERS = _NUMBERS | _words(
    "the a an this that these those my your his her its our their some any another each every both "
    "no"
)
_ENDS = _words(
    # prepositions
    "in on at of from to into onto with without by near beside besides next behind under "
    "underneath below above over between among through across around along against toward towards "
    "upon inside outside within off up down out for as like than before after "
    "during about per "
    # conjunctions, relative and question words
    "and or but nor so yet while because if when where which who whom whose that what how although "
    # auxiliaries
    "is are was were be been being am has have had do does did can could will would shall should "
    "may might must not isn't aren't doesn't don't "
    # verbs that follow a thing in descriptions
    "sits sit stands stand lies lie rests rest hangs hang appears appear seems seem looks look "
    "wears wear holds hold carries carry rides ride walks walk runs run plays play eats eat drinks "
    "drink shows show depicts depict features feature contains contain includes include surrounds "
    "surround covers cover fills fill belongs belong fits fit goes go comes come makes make takes "
    "take gets placed located seen shown filled covered surrounded parked seated dressed "
    "positioned attached "
    # adverbs and pronouns
    "here there now then too also please together away back again only just very i you he she it "
    "we they me him them us something anything nothing everything someone everyone himself itself"
)
# Ends in -ing and is a thing all the same.
_ING_NOUNS = _words(
    "thing ring king wing string spring swing sling building ceiling painting clothing railing "
    "pudding morning evening earring stocking dressing icing topping awning crossing drawing "
    "sibling duckling keyring padding lighting bedding dumpling wedding parking "
    "filling molding"
)
_NO_OBJECTS = _words(
    "image picture photo photograph scene view frame shot description caption background "
    "foreground left right middle center centre top bottom front back side corner edge far near "
    "rest kind type way time moment lot number color colour total answer question nothing one ones"
)
# Ends in -ly and describes a thing all the same.
_LY_ADJECTIVES = _words(
    "friendly lovely lively lonely elderly curly woolly smelly family butterfly jelly assembly "
    "trolley"
)
# What a command does to its object. Particles and "me" may stand between.
_COMMANDS = _words(
    "pick grab grasp take get fetch bring hand pass give point show find locate segment mask "
    "highlight mark select touch push pull press move put place drop lift raise hold look search "
    "watch track detect identify ground go drive approach reach follow open close turn want need "
    "see spot outline choose throw stack insert clean wipe"
)
_COMMAND_FILLERS = _words(
    "up me us out to at for down over i we you it's would like please now then just also and robot "
    "let's lets go hey can could will describe tell say list count name"
)

_PLURALS = _NUMBERS - {"one"} | _words("both all these those")
# Ends in -s and is one thing all the same.
_S_NOUNS = _words("lens gas canvas atlas chaos")
_IT = re.compile(r"\b(?:it|that one|this one|that|this)\b(?!\s+\w+\s+one\b)", re.IGNORECASE)
_ALL_OF_THEM = re.compile(r"\b(?:all of them|both of them|them|these|those)\b", re.IGNORECASE)
_ONE = re.compile(r"(\b(?:the|that|this)\s+(?:\w+\s+){1,3})one\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Token:
    text: str
    start: int
    end: int

    @property
    def is_word(self) -> bool:
        return self.text[0].isalnum()


def find_phrases(text: str) -> list[Phrase]:
    """The noun phrases of an answer, in order, each with its span of characters.

    Negated ones ("there is no green duck", "not here") are left out: there is nothing to point at.
    """
    tokens = _tokens(text)
    found, i = [], 0
    while i < len(tokens):
        if tokens[i].text.lower() not in _DETERMINERS:
            i += 1
            continue
        end = _chunk_end(tokens, i + 1)
        last = _trimmed(tokens, i + 1, end)
        if tokens[i].text.lower() != "no" and last > i + 1:
            found.append(_phrase(text, tokens[i], tokens[last - 1]))
        i = max(end, i + 1)
    return found


def command_phrases(command: str) -> list[Phrase]:
    """What a command points at: its noun phrases, or its bare object ("pick up red mug", "mug")."""
    found = find_phrases(command)
    if found:
        return found
    tokens = _tokens(command)
    i = 0
    while i < len(tokens) and (
        not tokens[i].is_word or tokens[i].text.lower() in _COMMANDS | _COMMAND_FILLERS
    ):
        i += 1
    found = []
    while i < len(tokens):
        end = _chunk_end(tokens, i)
        last = _trimmed(tokens, i, end)
        if last > i:
            found.append(_phrase(command, tokens[i], tokens[last - 1]))
        i = max(end, i) + 1
    return found


def is_imperative(command: str) -> bool:
    """Whether a command begins with something to do to an object: "pick", "show", "find"."""
    first = next((t for t in _tokens(command) if t.is_word), None)
    return first is not None and first.text.lower() in _COMMANDS


def is_singular(phrase: str) -> bool:
    """Whether a phrase means one thing: "the cube", but not "the cubes", "two balls", "all of it".

    By its first and its last word; what it cannot tell it takes for singular.
    """
    words = [token.text.lower() for token in _tokens(phrase) if token.is_word]
    if not words or words[0] in _PLURALS or (len(words) > 1 and words[1] in _PLURALS):
        return False
    last = words[-1]
    return not last.endswith("s") or last.endswith(("ss", "us", "is")) or last in _S_NOUNS


def refer_back(command: str, named: Sequence[str]) -> str:
    """A command with what it refers back to put in: "pick it up" -> "pick the red mug up".

    named: phrases of the answer before, in order. "it" and "that one" mean the last of them,
    "them" means all, "the left one" is one of the last one's kind. Questions stay as they are: the
    language model reads the conversation itself.
    """
    if not named or not is_imperative(command) or find_phrases(command):
        return _with_kind(command, named[-1]) if named and is_imperative(command) else command
    last = _one(named[-1])
    every = " and ".join(_one(phrase) for phrase in named)
    command = _ALL_OF_THEM.sub(lambda _: every, command, count=1)  # no template: \1 is a text too
    return _IT.sub(lambda _: last, command, count=1)


def _with_kind(command: str, phrase: str) -> str:
    """ "the left one" -> "the left cube" after "the red cube"."""
    words = phrase.split()
    return _ONE.sub(lambda m: f"{m[1]}{words[-1]}", command, count=1) if words else command


def _one(phrase: str) -> str:
    """A phrase as one mentions it again: "a red mug" -> "the red mug"."""
    first, _, rest = phrase.partition(" ")
    return f"the {rest}" if rest and first.lower() in ("a", "an", "another", "some") else phrase


def _chunk_end(tokens: list[_Token], start: int) -> int:
    """One past the last word of the phrase whose words begin at `start`."""
    for i in range(start, len(tokens)):
        word = tokens[i].text.lower()
        if not tokens[i].is_word or word in _ENDS:
            return i
        if word in _DETERMINERS and not (i == start and word in _NUMBERS) and word != "one":
            return i  # "the two mugs" and "the red one" go on, "the mug the cube" does not
        if i > start and _is_aside(word):
            return i
    return len(tokens)


def _is_aside(word: str) -> bool:
    """ "sitting", "prominently": what a thing does, or how, once the thing has been named."""
    if len(word) > 5 and word.endswith("ing"):
        return word not in _ING_NOUNS
    return len(word) > 5 and word.endswith("ly") and word not in _LY_ADJECTIVES


def _trimmed(tokens: list[_Token], start: int, end: int) -> int:
    """One past the last word that names something one can point at; `start` where none does."""
    while end > start:
        head = tokens[end - 1].text.lower()
        is_pronoun = head in ("one", "ones") and end - start > 1  # "the red one"
        if any(c.isalpha() for c in head) and (is_pronoun or head not in _NO_OBJECTS):
            break
        end -= 1
    return end


def _phrase(text: str, first: _Token, last: _Token) -> Phrase:
    return Phrase(text[first.start : last.end], (first.start, last.end))


def _tokens(text: str) -> list[_Token]:
    return [_Token(m.group(), m.start(), m.end()) for m in _WORD.finditer(text)]
