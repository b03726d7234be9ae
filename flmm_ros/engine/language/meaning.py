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

"""What a command means: the things it is about, those it is not about, and what is asked of them.

    pick up the red mug, not the blue ball   targets the red mug; excluded the blue ball
    the ball that is not blue                targets the ball; excluded the blue ball
    don't touch the red mug                  a prohibition; excluded the red mug
    everything except the red mug            unclear: everything is nothing to point at

What cannot be resolved is `unclear`, and refused.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, replace

from flmm_ros.engine.answer import Intent, Phrase
from flmm_ros.engine.language.descriptions import Description, DescriptionReader
from flmm_ros.engine.language.forms import (
    WHICH,
    is_plain_question,
    is_question,
    is_standstill,
    is_unnamed,
    opened,
)
from flmm_ros.engine.language.normalisation import NormalText, normalised
from flmm_ros.engine.language.phrases import singular
from flmm_ros.engine.language.sentence import SAY_IT_APART, Sentence
from flmm_ros.engine.language.words import ADJECTIVES, BODY, COMMANDS, GENERIC, ROLES, words_of


@dataclass(frozen=True)
class Meaning:
    """What a command means.

    targets: what it is about, as it is to be grounded; `text_span` is the range of characters it
    was read from, in the command as typed. excluded: what it must never be about; phrases that are
    grounded too, to be taken out. unclear: why it cannot be resolved; empty where it can.
    holds_name: a question that names what it asks for ("which one is the black bunny"): the name
    counts, whatever the model answers.
    """

    intent: Intent
    targets: tuple[Phrase, ...] = ()
    excluded: tuple[Phrase, ...] = ()
    unclear: str = ""
    holds_name: bool = False

    @property
    def is_prohibition(self) -> bool:
        """It only says what is to be left alone."""
        return self.intent is Intent.PROHIBITION


def understand(command: str) -> Meaning:
    """What a command means, from its words alone."""
    normal = normalised(command)
    if is_standstill(normal.text):
        return Meaning(Intent.PROHIBITION)
    at, is_request = opened(normal.text)
    core = normal.text[at:]
    words = words_of(normal.text)
    begin = next((n for n, word in enumerate(words) if word.start >= at), len(words))
    is_plain = is_plain_question(core)
    is_asked = is_plain or (
        is_question(core) and not (is_request and re.match(r"(?:have|has|will|can)\b", core))
    )
    reader = DescriptionReader(normal.text, words, takes_not=not is_asked)
    named = _named_by_question(reader, normal, at)
    if named is not None:
        return named
    sentence = Sentence(reader, begin, is_asked)
    sentence.read()
    intent = _intent_of(core, sentence, is_asked=is_asked, is_request=is_request)
    meaning = _meaning_of(sentence, normal, intent)
    if is_asked and "?" in core:  # "don't you see the red mug?"
        return meaning
    return _refused_if_negated(meaning, normal.text)


# What turns a wish around; nothing that ends a clause may stand between it and a target.
_NEGATIVE = re.compile(
    r"(?<!why )\b(?:not|never|nothing|neither|nor|none|nobody|cannot|avoid|refrain|forbid|refuse)\b"
    r"|n't\b",
    re.IGNORECASE,
)
# After these words it is no wish that something be left alone: "don't forget", "I can't reach".
_HARMLESS = re.compile(
    r"\s+(?:be able to\s+)?(?:you|forget|fail|hesitate|find|see|reach|spot|locate|get|remember|"
    r"know|tell|have|mind|help|wait|do without|live without|work without|only|just)\b",
    re.IGNORECASE,
)
# Also "nothing except the cube": turned around twice.
_CLAUSE_END = re.compile(
    r"[,;:.!?]|\b(?:and|but|so|then|instead|just|only|except|than|apart|besides|aside)\b",
    re.IGNORECASE,
)


def _refused_if_negated(meaning: Meaning, text: str) -> Meaning:
    """A safety net for what no rule knows: a negative word before a target in its clause."""
    if meaning.excluded or meaning.unclear or meaning.is_prohibition:
        return meaning
    for phrase in meaning.targets:
        before = text[: max(text.lower().find(phrase.text.lower()), 0)]
        found = _NEGATIVE.finditer(before)
        negatives = [each for each in found if not _HARMLESS.match(before, each.end())]
        if negatives and not _CLAUSE_END.search(before, negatives[-1].end()):
            word = negatives[-1].group()
            unclear = (
                f"expected a command without doubt about what is meant, got {word!r} before "
                f'{phrase.text!r}; say "do not touch the red mug" or "the duck, not the red mug"'
            )
            return dataclasses.replace(meaning, targets=(), unclear=unclear)
    return meaning


def _intent_of(core: str, sentence: Sentence, *, is_asked: bool, is_request: bool) -> Intent:
    if is_plain_question(core):
        return Intent.ANSWER
    if is_asked:
        return Intent.ANSWER_AND_GROUND
    if not sentence.wanted and (sentence.is_unnamed or (is_unnamed(core) and not sentence.forbids)):
        return Intent.ANSWER_AND_GROUND
    if sentence.forbids and not sentence.wanted:
        return Intent.PROHIBITION
    first = next((w.lower for w in words_of(core) if w.is_word), "")
    if core.rstrip("\"' ").endswith("?") and not is_request and first not in COMMANDS:
        return Intent.ANSWER_AND_GROUND  # "can you pick up the duck?" is no question
    return Intent.GROUND if sentence.wanted else Intent.ANSWER_AND_GROUND


def _named_by_question(reader: DescriptionReader, normal: NormalText, at: int) -> Meaning | None:
    """ "which one is the black bunny": the name stands in the question. None: it does not."""
    match = WHICH.search(normal.text, at)
    if match is None or not re.fullmatch(
        r"(?:(?:show|tell|point|let|do you know|find out|me|us|to|at|out|know)\s*)*",
        normal.text[at : match.start()],
        re.IGNORECASE,
    ):
        return None
    words = reader.words
    is_what = normal.text[match.start() :].lower().startswith("what ")
    kind = match["kind"].strip().lower()
    if is_what and " " in kind:
        return None
    is_generic = not kind or kind.split()[-1] in GENERIC or kind.startswith("of ")
    head = Description("the thing" if is_generic else f"the {kind}", 0, 0, "thing")
    if not is_generic:
        head = replace(head, kind=kind)
    start = next((n for n, word in enumerate(words) if word.start >= match.end()), len(words))
    is_negated = match["not"] is not None or match["verb"].lower().endswith("n't")
    if is_what and not is_negated and kind != "one":
        return None
    found = reader.without(head, start) if is_negated else reader.predicate(head, start)
    if found is None or found.unclear or any(w.is_word for w in words[found.stop :]):
        return None
    span = normal.typed_span((words[start].start, words[found.stop - 1].end))
    if is_negated:
        targets = () if is_generic else (Phrase(head.text, span),)
        intent = Intent.GROUND if targets else Intent.ANSWER_AND_GROUND
        excluded = tuple(Phrase(text, span) for text in found.excluded)
        return Meaning(intent, targets, excluded, holds_name=bool(targets))
    names_it = not found.is_generic and found.kind.split()[-1].lower() not in ADJECTIVES
    is_relation = found.text.startswith(head.text + " ")
    if not names_it or (is_generic and is_relation):
        return None
    return Meaning(Intent.GROUND, (Phrase(found.text, span),), holds_name=True)


def _meaning_of(sentence: Sentence, normal: NormalText, intent: Intent) -> Meaning:
    """What was read, with places in the text as typed."""
    wanted, unwanted = _with_kinds(sentence)
    wanted = [d for d in wanted if not _is_beside_the_point(d, sentence)]
    words = sentence.reader.words

    def phrase(text: str, d: Description) -> Phrase:
        return Phrase(text, normal.typed_span((words[d.start].start, words[d.stop - 1].end)))

    targets: dict[str, Phrase] = {}
    for d in wanted:
        targets.setdefault(_name(d.text), phrase(d.text, d))
    excluded = {_name(d.text): phrase(d.text, d) for d in unwanted}
    for d in (*wanted, *unwanted, *sentence.left_out):
        for text in d.excluded:
            excluded.setdefault(_name(text), phrase(text, d))
    unclear = ""
    if not sentence.is_asked:
        unclear = sentence.unclear or next((d.unclear for d in wanted if d.unclear), "")
    both = next((p.text for name, p in targets.items() if name in excluded), "")
    if both:
        unclear = unclear or f"{both!r} is both meant and not meant; {SAY_IT_APART}"
    if sentence.is_statement and not targets and not sentence.is_asked:
        unclear = unclear or "expected a command, got a sentence that says what is not there"
    return Meaning(intent, tuple(targets.values()), tuple(excluded.values()), unclear)


def _is_beside_the_point(d: Description, sentence: Sentence) -> bool:
    """ "the thing I want is the red cube", "move your arm to the cube", "my hand is empty, take the
    cube": beside the cube, the thing, the arm and the hand are no targets."""
    others = [other for other in sentence.wanted if other.start != d.start]
    words = [word.lower() for word in d.text.split()]
    if not others or sentence.is_asked:
        return False
    if words[0] == "your" and words[-1] in BODY:
        return True
    is_said = any(w.lower in ("is", "are", "be") for w in sentence.reader.words)
    if is_said and len(words) <= 3 and words[-1] in GENERIC | ROLES:
        return True
    is_commanded = any(other.start == c.start for other in others for c in sentence.commanded)
    return is_commanded and any(d.start == stated.start for stated in sentence.stated)


def _with_kinds(sentence: Sentence) -> tuple[list[Description], list[Description]]:
    """ "not the red one", "not blue": of the kind of what is named beside it."""
    wanted, unwanted = sentence.wanted, sentence.unwanted
    kinds = [d for d in sentence.mentioned if not _is_kindless(d)]
    if not sentence.forbids or not kinds:
        return wanted, unwanted

    def with_kind(d: Description) -> Description:
        if not _is_kindless(d):
            return d
        near = min(kinds, key=lambda other: abs(other.start - d.start))
        said = [w for w in d.kind.split() if w.lower() not in ("one", "ones")]
        noun = [w for w in near.kind.split() if w.lower() not in ADJECTIVES]
        if noun and not d.kind.lower().endswith("ones"):
            noun[-1] = singular(noun[-1])
        return replace(d, text=" ".join(["the", *said, *noun]), kind=" ".join([*said, *noun]))

    return [with_kind(d) for d in wanted], [with_kind(d) for d in unwanted]


def _is_kindless(d: Description) -> bool:
    """Only adjectives, or "the red one"."""
    words = [word.lower() for word in d.kind.split()]
    return bool(words) and all(word in ADJECTIVES or word in ("one", "ones") for word in words)


def _name(text: str) -> str:
    """A phrase without its article: what is said twice is one thing."""
    first, _, rest = text.lower().partition(" ")
    return rest if rest and first in ("the", "a", "an", "any", "that", "this") else text.lower()
