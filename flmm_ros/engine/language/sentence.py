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

"""A sentence read once, from left to right: what it names, and what is not meant of it.

Sayings of `negation` change what the things behind them are; commas, conjunctions and the next
command change it back. What two readers could take for opposites is `unclear`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from flmm_ros.engine.language.descriptions import (
    Description,
    DescriptionReader,
    is_participle,
)
from flmm_ros.engine.language.negation import (
    ANYTHING_AT_ALL,
    BEHIND_NAMES,
    UNIVERSALS,
    WITH_OBJECT,
    Cue,
    Effect,
    cue_at,
)
from flmm_ros.engine.language.words import (
    ADJECTIVES,
    COMMAND_FILLERS,
    COMMANDS,
    DETERMINERS,
    ENDS,
    PLACEMENTS,
    Word,
    word_set,
)

SAY_IT_APART = "say what is meant and what is not in sentences of their own"

_HARD = frozenset(".;!?:…")
_CONJUNCTIONS = frozenset(("and", "or", "but", "then", "so", "yet", "however", "nor"))
_CONDITIONS = frozenset(("if", "unless", "otherwise", "whether"))
_PURPOSES = frozenset(("for", "as"))
_SOURCES = frozenset(("from", "off"))
_SURFACES = word_set("table desk floor ground shelf counter tabletop workbench bench")
_CONTRASTS = frozenset(("instead", "rather", "only", "just", "please"))
_PRONOUNS = frozenset(("it", "them", "that", "this", "those", "these"))
_VOCATIVES = word_set("please robot thanks thank ok okay and")
_SPEECH = word_set(
    "care sure said mean meant told guess think hope repeat warning careful attention caution "
    "because since everybody"
)  # fmt: skip
_RESUMING = COMMAND_FILLERS | word_set(
    "please then just only rather instead do may must should and but , so to have you i"
)
_MEANWHILE = word_set("when while before after as")
_AS_IT_IS = word_set("be alone rest stay where untouched as still")
_STAYING = tuple(
    tuple(f"{modal} {verb}".split())
    for modal in (
        "", "should", "must", "has to", "have to", "can", "may", "will", "is to", "are to",
        "needs to", "need to", "ought to", "shall", "to", "is", "are",
    )
    for verb in ("stay", "stays", "staying", "remain", "remains", "remaining")
)  # fmt: skip
_UPRIGHT = word_set("upright level closed shut full clean dry warm cold whole intact horizontal")
_TAKING = word_set(
    "touch move take grab grasp pick lift use get bring fetch hold push pull handle go approach"
)
_LOOKING = word_set("see look find watch show check inspect spot notice point keep")
_LINKS = frozenset((",", "and", "or", "both", "&"))
_PREFERRING = word_set("rather sooner prefer more")
_MODALS = word_set("should must may can could will would has have to")
_STATES = frozenset(("is", "are", "was", "were", "there's", "see", "has", "have"))

_EVERYTHING = (
    "expected the things that are meant, got everything but some: name them, or their kind; "
    'for example "all the mugs except the red one"'
)


@dataclass
class Sentence:
    """One pass over the words: what is named, and what holds for it where it stands."""

    reader: DescriptionReader
    begin: int
    is_asked: bool
    wanted: list[Description] = field(default_factory=list)
    unwanted: list[Description] = field(default_factory=list)
    forbids: bool = False
    unclear: str = ""
    _state: Effect = Effect.ALLOW
    _clause: int = 0  # how many things were named before this clause
    _is_placed: bool = False  # the clause brings what it names to a place
    _is_object: bool = False  # an object is expected: a name needs no determiner
    _is_universal: bool = False
    _anything: bool = False  # "everything" and nothing that says of what sort
    _wants_anything: bool = False
    _adds: bool = False  # "not only the mug, but the ball"
    _is_condition: bool = False
    is_statement: bool = False
    is_unnamed: bool = False  # "something to drink from": the model has to think of a name
    left_out: list[Description] = field(default_factory=list)  # "that is not red", of any thing
    mentioned: list[Description] = field(default_factory=list)
    commanded: list[Description] = field(default_factory=list)  # behind a verb of command
    stated: list[Description] = field(default_factory=list)  # of which something is only said
    _clause_start: int = 0
    _at: int = 0
    _entered_at: int = 0  # where the state begins
    _behind_cue: int = -1
    _unwanted_before: int = 0
    _is_subject_forbidden: bool = False
    _open: list[tuple[int, int]] = field(default_factory=list)  # words that nothing excludes

    @property
    def _words(self) -> Sequence[Word]:
        return self.reader.words

    @property
    def _is_allowing(self) -> bool:
        return self._state is Effect.ALLOW

    def read(self) -> None:
        """Reads the sentence, and what it names without a determiner where that is all."""
        i = opened_at = self.begin
        while i < len(self._words):
            before = self._state
            stop = self._step(i)
            if self._state is not before or self._is_mark(i):
                if before is Effect.ALLOW:
                    self._open.append((opened_at, i))
                opened_at = stop
            i = stop
        if self._state is Effect.ALLOW:
            self._open.append((opened_at, i))
        if not self.wanted and not self.is_unnamed:
            for start, stop in self._open:
                self._read_bare(start, stop)
        is_leaving_out = self._state in (Effect.EXCLUDE, Effect.EXCEPT) and not self.is_asked
        if is_leaving_out and self.wanted and len(self.unwanted) == self._unwanted_before:
            said = " ".join(w.text for w in self._words[self._entered_at : self._entered_at + 3])
            self._doubt(f"what {said!r} leaves out")
        if self._wants_anything and self.unwanted and not self.wanted:
            self.unclear = self.unclear or _EVERYTHING
        if self._is_condition and (self.forbids or self.unwanted):
            self.unclear = self.unclear or (
                "expected a command without conditions, got one with if and not; " + SAY_IT_APART
            )

    def _step(self, i: int) -> int:
        """Reads what begins at a word; returns where the next begins."""
        self._at = i
        word = self._words[i].lower
        instrument = self.reader.instrument_stop(i)
        if instrument is not None:
            return max(instrument, i + 1)
        detached = self.reader.detached(i)
        if detached is not None:
            self.left_out.append(detached)
            return detached.stop
        if self._is_left_as_it_is(i):
            self._enter(Effect.LEAVE)
            return i + 1
        stays = self._staying(i)
        if stays:
            self._keep_subject(i, stays)
            return i + stays
        self._forbid_what_was_named(i)
        cue = self._comparison(i) or cue_at(self._words, i)
        if cue is not None and self._counts(cue, i):
            return self._apply(cue, i)
        if self._is_mark(i) or word in _CONJUNCTIONS:
            return self._boundary(i)
        if word == "no" and self._is_negative_name(i):
            self.is_statement |= self._lower(i - 1) in _STATES
            self._enter(Effect.EXCLUDE)
            return i + 1
        self._is_condition |= word in _CONDITIONS
        self.forbids |= word == "unless"
        if word in UNIVERSALS:
            self._is_universal = True
            is_described = self._lower(i + 1) in ("to", "that", "which", "i", "you", "with", "for")
            is_alone = self._lower(i + 1) in ("but", "except", "besides", "other", "apart", "of")
            is_anything = word in ANYTHING_AT_ALL or (word in ("any", "all") and is_alone)
            self._anything |= is_anything and not is_described
            is_wanted = self._state is Effect.ALLOW and word not in ("nothing", "none")
            self._wants_anything |= is_anything and not is_described and is_wanted
            is_sought = is_anything and is_described and word != "whatever"
            self.is_unnamed |= is_sought and self._state is Effect.ALLOW
        return self._name_at(i)

    def _is_left_as_it_is(self, i: int) -> bool:
        """ "let the duck be", "keep the mug where it is"."""
        if self._lower(i) not in ("let", "keep") or self.is_asked:
            return False
        found = self.reader.read(i + 1)
        behind = found.stop if found is not None else i + 2
        is_pronoun = found is None and self._lower(i + 1) in _PRONOUNS
        return (found is not None or is_pronoun) and (
            self._lower(behind) in _AS_IT_IS
            or (self._lower(behind), self._lower(behind + 1)) == ("in", "place")
        )

    def _staying(self, i: int) -> int:
        """How many words of "stays", "should remain" stand behind the thing that does."""
        if self.is_asked or not self._is_allowing or not self.wanted or self.wanted[-1].stop != i:
            return 0
        return self._staying_at(i)

    def _staying_at(self, i: int) -> int:
        for saying in _STAYING:
            if tuple(self._lower(i + n) for n in range(len(saying))) == saying:
                return len(saying)
        return 0

    def _keep_subject(self, i: int, length: int) -> None:
        """ "the red mug stays where it is": it is not to be touched."""
        is_open = self._lower(i + length) in _UPRIGHT or (self._lower(i) == "to" and i > 0)
        if is_open and (self._lower(i + length) in _UPRIGHT or len(self._subjects()) > 1):
            self._doubt(repr(self.wanted[-1].text))
        self._forbid_subjects()

    def _subjects(self) -> list[Description]:
        """The things that what is said next is said of: "the mug and the duck | stay"."""
        k = len(self.wanted) - 1
        while k > 0 and all(
            w.lower in _LINKS for w in self._words[self.wanted[k - 1].stop : self.wanted[k].start]
        ):
            k -= 1
        return self.wanted[k:]

    def _forbid_subjects(self) -> None:
        subjects = self._subjects()
        said = {w.lower for w in self._words[self._clause_start : subjects[0].start]}
        if said & COMMANDS:  # "take the ball and the mug stays"
            if len(subjects) > 2:
                self._doubt(repr(subjects[-2].text))
            subjects = subjects[-1:]
        self.unwanted += subjects
        del self.wanted[-len(subjects) :]
        self._enter(Effect.FORBID)
        self._is_object, self._is_subject_forbidden = False, True

    def _forbid_what_was_named(self, i: int) -> None:
        """ "the mug is hot, don't touch it", "the mug: do not touch"."""
        if self._state is not Effect.FORBID or self._is_subject_forbidden or not self.wanted:
            return
        if self._lower(i) not in _TAKING:
            return
        j = i + 2 if self._lower(i + 1) in ("up", "for", "to") else i + 1
        is_pronoun = self._lower(j) in _PRONOUNS and self.reader.read(j) is None
        if not is_pronoun and not (j >= len(self._words) or self._is_mark(j)):
            return
        named = self.wanted[-1]
        said = {w.lower for w in self._words[: named.start]} & COMMANDS
        if said - _LOOKING:
            self._doubt(repr(named.text))
            return
        self.unwanted += self._subjects()
        del self.wanted[-len(self._subjects()) :]

    def _comparison(self, i: int) -> Cue | None:
        """ "rather the mug | than the ball", "I prefer the mug | to the ball"."""
        said = {word.lower for word in self._words[:i]}
        is_rather = self._lower(i) == "than" and bool(said & _PREFERRING)
        is_preferred = self._lower(i) in ("to", "over") and bool(said & {"prefer", "preferably"})
        is_without = not self.is_asked and self.reader.leaves_out(i)
        is_left = is_rather or is_preferred or is_without
        return Cue(Effect.EXCLUDE, 1) if is_left else None

    def _name_at(self, i: int) -> int:
        word = self._words[i].lower
        bare = self._may_be_bare(i)
        found = self.reader.read(
            i,
            is_placed=self._is_placed and self._lower(i - 1) in (*PLACEMENTS, "up", "down", "me"),
            bare=bare,
            appositions=self._state is Effect.ALLOW,
        )
        if found is None or not found.text:
            if word in PLACEMENTS and self._lower(i - 1) not in DETERMINERS:
                self._is_placed = True
            if word not in COMMANDS | COMMAND_FILLERS and word not in ("touching", "using"):
                self._is_object = False
            return i + 1
        self._is_object = False
        self.mentioned.append(found)
        said = {w.lower for w in self._words[self._clause_start : i]}
        behind = self._lower(found.stop)
        if said & COMMANDS:
            self.commanded.append(found)
        elif behind in _STATES or said & _STATES:
            self.stated.append(found)
        said = {w.lower for w in self._words[self._entered_at : i]}
        if self._state is Effect.FORBID and said & _MEANWHILE and said & COMMANDS:
            self._doubt(repr(found.text))  # "don't touch the duck while you take the mug"
        if not self._is_aside(i, found):
            (self.wanted if self._state is Effect.ALLOW else self.unwanted).append(found)
            self._anything &= self._state is not Effect.ALLOW
        return found.stop

    def _is_aside(self, i: int, found: Description) -> bool:
        """ "for my tea", "as a ruler", "from the table": said of the thing, and no thing itself."""
        if i == self._behind_cue:  # "except for the mug"
            return False
        before = self._lower(i - 1)
        named = len(self.wanted) + len(self.unwanted) > self._clause
        is_source = before in _SOURCES or (before == "of" and self._lower(i - 2) == "off")
        last = found.kind.split()[-1].lower() if found.kind else ""
        return named and (before in _PURPOSES or (is_source and last in _SURFACES))

    def _may_be_bare(self, i: int) -> bool:
        word, before = self._words[i].lower, self._lower(i - 1)
        if not self._words[i].is_word or word in ENDS | COMMAND_FILLERS | UNIVERSALS:
            return False
        if is_participle(word):
            return False
        if self._state is not Effect.ALLOW and self._is_object:
            return word not in COMMANDS and not self._is_verb_at(i)
        if self._state is Effect.ALLOW and self._is_exception_of(i):
            return True
        follows = before in COMMANDS or before in ("up", "me", "us", "down", "and", "or", ",")
        end = i + 1
        while end < len(self._words) and self._words[end].lower in ADJECTIVES:
            end += 1
        has_noun = end < len(self._words) and self._words[end].is_word
        has_noun = has_noun and self._lower(end) not in ENDS | DETERMINERS
        return word in ADJECTIVES and follows and has_noun and i > self.begin

    def _is_exception_of(self, i: int) -> bool:
        """ "all | balls except the red one": a name needs no determiner."""
        before, word = self._lower(i - 1), self._lower(i)
        begins = before == "all" or before in COMMANDS or before == "up" or i == self.begin
        if not begins or word in COMMANDS | DETERMINERS or self.is_asked:
            return False
        found = self.reader.read(i, bare=True)
        if found is None or not found.text:
            return False
        cue = cue_at(self._words, found.stop)
        is_but = before == "all" and self._lower(found.stop) == "but"
        return is_but or (cue is not None and cue.effect is Effect.EXCEPT)

    def _is_verb_at(self, i: int) -> bool:
        """ "don't | bump into the ball", "nobody | touches the mug": no name, though no known
        verb."""
        if self._state is not Effect.FORBID or self._lower(i) in ADJECTIVES:
            return False
        if self._lower(i - 1) in COMMANDS | {"up", "down"}:
            return False
        found = self.reader.read(i, bare=True)
        return found is not None and self._lower(found.stop) in DETERMINERS | ENDS

    def _read_bare(self, start: int, stop: int) -> None:
        """Objects without a determiner: "grab red mug", "mugs"."""
        if any(start <= d.start and d.stop <= stop for d in self.unwanted):
            return
        i = start
        while i < stop and (
            not self._words[i].is_word or self._lower(i) in COMMANDS | COMMAND_FILLERS
        ):
            i += 1
        if self.forbids or self.unwanted:
            has_verb = any(w.lower in COMMANDS for w in self._words[start:i])
            if self._lower(i) in _SPEECH or (i > start and not has_verb):
                return
        while i < stop:
            bare = self._words[i].is_word and self._lower(i) not in ENDS | UNIVERSALS
            found = self.reader.read(i, bare=bare)
            if found is not None and found.text and found.stop <= stop:
                self.wanted.append(found)
                i = found.stop
            i += 1

    def _counts(self, cue: Cue, i: int) -> bool:
        """Whether a saying negates here: not in a name, and of questions only what leaves out."""
        effect, word = cue.effect, self._words[i].lower
        if effect is Effect.NONE:
            return True
        if self.is_asked:
            is_aside = cue.length > 1 or self._lower(i - 1) == ","
            return effect is Effect.EXCEPT or (effect is Effect.EXCLUDE and is_aside)
        if word in BEHIND_NAMES and cue.length == 1:
            is_named = bool(self.mentioned) and self.mentioned[-1].stop == i
            return is_named or self._lower(i - 1) in UNIVERSALS
        is_first = i == self.begin or self._is_mark(i - 1) or self._lower(i - 1) in _RESUMING
        if effect is Effect.STOP:
            return is_first
        if word in WITH_OBJECT and cue.length == 1:
            return is_first and self._lower(i + 1) in DETERMINERS | _PRONOUNS
        if word in ("isn't", "aren't", "wasn't", "weren't") and cue.length == 1:
            is_said = bool(self.wanted) and self.wanted[-1].stop == i
            return is_said or self._lower(i - 1) in _PRONOUNS
        return not (effect is Effect.LEAVE and self._lower(i - 1) in DETERMINERS)

    def _apply(self, cue: Cue, i: int) -> int:
        stop = self._behind_cue = i + cue.length
        if cue.effect is Effect.NONE:
            self._adds |= self._words[stop - 1].lower in ("only", "just", "merely")
            return stop
        named = len(self.wanted) + len(self.unwanted) > self._clause
        if cue.effect is Effect.ALLOW:
            self._state = Effect.ALLOW
        elif cue.effect is Effect.EXCEPT:
            self._except(named)
        elif not self._is_about_subject(cue, i):
            self._enter(cue.effect)
        return stop

    def _is_about_subject(self, cue: Cue, i: int) -> bool:
        """ "the red mug must not be touched" forbids what stands before it, "the mug is not red"
        only says something."""
        if self._state is not Effect.ALLOW or not self.wanted or self.is_asked:
            return False
        end = self.wanted[-1].stop
        is_behind = end == i - 1 and self._lower(i - 1) in _STATES | _MODALS
        if cue.effect is Effect.FORBID and (end == i or is_behind):
            self._forbid_subjects()
            return True
        is_not = (self._lower(i) == "not" and is_behind) or (
            self._lower(i).endswith("n't") and cue.effect is Effect.EXCLUDE and end == i
        )
        if is_not:
            self.unclear = "expected a command, got a sentence that says what a thing is not"
            return True
        return False

    def _except(self, named: bool) -> None:
        """ "except": of what is forbidden, it is what is meant."""
        if self._state is Effect.ALLOW:
            if self._anything and not named and not self.is_asked:
                self.unclear = _EVERYTHING
            self._enter(Effect.EXCEPT)
            return
        if not self._is_universal or not self._anything:
            del self.unwanted[self._clause_of_unwanted() :]
        self._state, self._is_object = Effect.ALLOW, False

    def _clause_of_unwanted(self) -> int:
        return max(self._clause - len(self.wanted), 0)

    def _enter(self, effect: Effect) -> None:
        self._state, self._is_object = effect, True
        self._entered_at, self._is_subject_forbidden = self._at, False
        self._unwanted_before = len(self.unwanted)
        self.forbids = self.forbids or not self.is_asked

    def _boundary(self, i: int) -> int:
        """A mark or a conjunction: whether what is said before it goes on behind it."""
        word = self._words[i].lower
        if self._state is Effect.ALLOW:
            named = len(self.wanted) > self._clause
            is_plain_but = word == "but" and self._command_behind(i) is None
            is_plain_but = is_plain_but and self._is_name(i + 1) and not self.is_asked
            is_plain_but = is_plain_but and cue_at(self._words, i + 1) is None
            is_plain_but = is_plain_but and not self._is_forbidden_subject(i + 1)
            if is_plain_but and self._is_universal:
                self._except(named)
            elif is_plain_but and named and not self._adds:
                said = self._words[i + 1].text if i + 1 < len(self._words) else ""
                self._doubt(f"'but {said} ...'")
            elif word in _HARD or self._command_behind(i) is not None:
                self._new_clause(i)
            return i + 1
        verb = self._command_behind(i)
        if word in _HARD:
            self._resume(verb is not None or self._state is not Effect.STOP)
        elif word == "but":
            if self._is_universal and self._anything and self._is_name(i + 1):
                self._except(named=True)
            elif cue_at(self._words, i + 1 if i + 1 < len(self._words) else i) is None:
                self._resume(True)
        elif word == "and":
            self._resume(verb is not None and not self._goes_on(verb))
        elif word in ("or", "nor"):
            pass
        elif word in _CONJUNCTIONS:
            self._resume(verb is not None or word == "then")
        else:
            self._comma(i, verb)
        self._is_object = not self._is_allowing
        return i + 1

    def _is_forbidden_subject(self, i: int) -> bool:
        """ "the mug must not be moved", "the mug stays"."""
        found = self.reader.read(i)
        if found is None:
            return False
        j = found.stop
        cues = [cue_at(self._words, j)]
        if self._lower(j) in _STATES | _MODALS:
            cues.append(cue_at(self._words, j + 1) if j + 1 < len(self._words) else None)
        is_forbidden = any(c is not None and c.effect is Effect.FORBID for c in cues)
        return is_forbidden or self._staying_at(j) > 0

    def _comma(self, i: int, verb: int | None) -> None:
        behind = self._lower(i + 1)
        if behind in ("or", "nor") or (
            i + 1 < len(self._words) and cue_at(self._words, i + 1) is not None
        ):
            return
        if verb is not None or behind in ("but", "then", "so"):
            self._resume(True)
            return
        contrasted = behind in _CONTRASTS and behind != "please"
        start = i + 2 if contrasted or behind == "and" else i + 1
        if not self._is_name(start):
            self._resume(self._state is Effect.EXCLUDE and behind not in _VOCATIVES)
            return
        other = self.reader.read(start, bare=True)
        closing = self._closing(other.stop) if other else ""
        contrasted |= other is not None and self._lower(other.stop) in _CONTRASTS
        is_not = self._state is Effect.EXCLUDE
        if (
            contrasted
            or (is_not and closing not in ("or", "nor") and not self._is_list(closing))
            or (behind == "and" and is_not)
        ):
            self._resume(True)
        elif not closing and behind != "and":
            self._doubt(repr(other.text if other else behind))

    def _doubt(self, said: str) -> None:
        self.unclear = self.unclear or (
            f"cannot tell whether {said} is meant or is not meant; {SAY_IT_APART}"
        )

    def _is_list(self, closing: str) -> bool:
        """A list that may be all excluded, or all meant: only where something is meant before."""
        return closing == "and" and bool(self.wanted)

    def _closing(self, i: int) -> str:
        """The conjunction that ends a list going on at a word: "the ball or the duck"."""
        while self._lower(i) == ",":
            if self._lower(i + 1) in ("and", "or", "nor"):
                return self._lower(i + 1)
            other = self.reader.read(i + 1, bare=False)
            if other is None:
                return ""
            i = other.stop
        word = self._lower(i)
        is_name = self._is_name(i + 1) and self._command_behind(i) is None
        return word if word in ("and", "or", "nor") and is_name else ""

    def _goes_on(self, verb: int) -> bool:
        """ "and put it down": with the same thing, so it is forbidden too."""
        i = verb + 1
        while self._lower(i) in ("up", "down", "me", "us", "to", "at"):
            i += 1
        return self._lower(i) in _PRONOUNS and self._lower(i + 1) not in ("one", "ones")

    def _command_behind(self, i: int) -> int | None:
        """Where the next command begins, if what stands behind a mark or conjunction is one."""
        i += 1
        while self._lower(i) in _RESUMING and self._lower(i) not in COMMANDS:
            i += 1
        word = self._lower(i)
        if word in COMMANDS and self._lower(i + 1) not in ("", "."):
            return i
        is_verb = word.isalpha() and word not in DETERMINERS | ENDS | ADJECTIVES | UNIVERSALS
        is_verb = is_verb and cue_at(self._words, i) is None if word else False
        return i if is_verb and self._lower(i + 1) in DETERMINERS - {"no"} else None

    def _resume(self, does: bool) -> None:
        if does:
            self._state = Effect.ALLOW
            self._new_clause(self._at)

    def _new_clause(self, i: int) -> None:
        self._clause_start = i
        self._clause = len(self.wanted)
        self._is_placed = self._is_universal = self._anything = False

    def _is_name(self, i: int) -> bool:
        """Whether a thing is named at a word."""
        bare = self._lower(i) not in ENDS | COMMANDS | COMMAND_FILLERS
        found = self.reader.read(i, bare=bare)
        return found is not None and bool(found.text) and self._lower(i) not in _CONTRASTS

    def _is_negative_name(self, i: int) -> bool:
        """ "no blue ball", but not "no, the ball" and not "no the ball"."""
        behind = self._lower(i + 1)
        if not behind.isalpha() or behind in DETERMINERS | ENDS | COMMANDS | COMMAND_FILLERS:
            return False
        return not self.is_asked and self.reader.read(i + 1, bare=True) is not None

    def _is_mark(self, i: int) -> bool:
        return 0 <= i < len(self._words) and not (
            self._words[i].is_word or self._words[i].is_pictograph
        )

    def _lower(self, i: int) -> str:
        return self._words[i].lower if 0 <= i < len(self._words) else ""
