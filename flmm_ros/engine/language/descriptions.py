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

"""A thing as a command describes it: a noun phrase with all that tells which one is meant.

    the mug left of the blue cube      -> the mug left of the blue cube
    the thing that is a red cube       -> the red cube
    the mug that is red                -> the red mug
    the ball that is not blue          -> the ball, without the blue ball
    the mug which has no handle        -> the mug without handle

What cannot be read is said (`unclear`), and never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flmm_ros.engine.language.negation import BEHIND_NAMES, Effect, cue_at
from flmm_ros.engine.language.phrases import chunk_end, is_aside, singular, trimmed
from flmm_ros.engine.language.words import (
    ADJECTIVES,
    DETERMINERS,
    ENDS,
    GENERIC,
    PRONOUN_HEADS,
    Word,
    word_set,
)


@dataclass(frozen=True)
class Description:
    """A thing as it is to be grounded.

    text: what is grounded. start, stop: the half-open range of words it was read from. kind: its
    noun with what stands before it ("small mug"). excluded: what of it is not meant. unclear: why
    it cannot be resolved; empty where it can.
    """

    text: str
    start: int
    stop: int
    kind: str
    determiner: str = "the"
    excluded: tuple[str, ...] = ()
    unclear: str = ""

    @property
    def is_generic(self) -> bool:
        """Its noun could be anything: "the thing", "the red one"."""
        return self.kind.split()[-1:] != [] and self.kind.split()[-1].lower() in GENERIC


_ADVERBS = word_set("actually really currently definitely clearly also just probably only")
_POSSESSIVE_INSTRUMENTS = frozenset(("your", "both"))
_INSTRUMENTS = word_set("gripper hand hands arm arms finger fingers grip claw care caution")
_ABOUT_ME = frozenset(("me", "you", "us", "yourself", "myself"))
_JOINING = word_set("and or but nor then so please now because while if unless")
_NEGATED = word_set("not no never neither")
_BE = frozenset(("is", "are", "was", "were"))
_SEEMS = (
    "happens to be", "happen to be", "seems to be", "seem to be", "appears to be", "appear to be",
    "turns out to be", "would be", "could be", "should be", "must be",
)  # fmt: skip
_LACKS = (
    "doesn't have any", "does not have any", "doesn't have", "does not have", "has no", "have no",
    "don't have", "do not have", "lacks", "lack", "hasn't got", "has not got",
)  # fmt: skip
_RELATIVES = frozenset(("that", "which", "who"))
_LIKE = ("looks like", "look like", "is called", "is named", "is known as", "called", "named",
         "known as", "i call", "we call", "people call", "resembles")  # fmt: skip
_SIGNS_BEGIN = word_set("do don't keep no never not stop beware")
_SIGNS = word_set("sign signs label button symbol notice sticker poster tag placard board")
_COMPARED = (("other", "than"), ("apart", "from"), ("aside", "from"), ("different", "from"))
_INDEFINITE = frozenset(("a", "an", "another", "some", "any", "every", "each"))
_NAMING = frozenset(("called", "named", "known"))
# Words behind a noun that begin a relation: "the mug closest to the cube".
_LINKS = word_set("left right closest nearest farthest furthest closer nearer opposite next")

# Needs no other thing: "the mug on the left".
_PLACES = tuple(
    tuple(place.split())
    for place in (
        "on the left side", "on the right side", "on the far left", "on the far right",
        "on the left", "on the right", "to the left", "to the right", "at the left", "at the right",
        "in the front", "in front", "in the foreground", "in the background", "at the front",
        "at the back", "in the back", "in the middle", "in the center", "in the centre",
        "in the corner", "on top", "at the top", "at the bottom", "at the far end",
    )
)  # fmt: skip
# Tells which one by another thing. Longest first.
_RELATIONS = tuple(
    tuple(relation.split())
    for relation in (
        "on the left side of", "on the right side of", "to the left of", "to the right of",
        "on the left of", "on the right of", "in the middle of", "at the back of", "in front of",
        "on top of", "left of", "right of", "next to", "close to", "closest to", "nearest to",
        "closer to", "nearer to", "farthest from", "furthest from", "full of", "made of",
        "opposite", "behind", "beside", "near", "under", "underneath", "below",
        "beneath", "above", "over", "between", "against", "among", "inside", "facing", "on", "in",
        "by", "at",
    )
)  # fmt: skip
# Belong to the thing itself, whatever is done with it.
_PARTS = (("with",), ("without",), ("of",), ("made", "of"), ("full", "of"))
_TAKES_BARE = frozenset(("of", "with", "without", "in"))


@dataclass(frozen=True)
class DescriptionReader:
    """Reads descriptions out of the words of a normal text."""

    text: str
    words: Sequence[Word]
    takes_not: bool = True  # "the mug not on the plate"; in a question, "not" is the sentence's

    def read(
        self, start: int, *, is_placed: bool = False, bare: bool = False, appositions: bool = False
    ) -> Description | None:
        """The description that begins at a word, or None where none does.

        is_placed: it is brought somewhere; what follows it ("on the plate") is where to. bare: it
        may come without a determiner. appositions: "the cube, the red one" is one thing.
        """
        head = self._head(start, bare)
        while head is not None:
            more = self._modified(head, is_placed) or (appositions and self._apposition(head))
            if not more:
                break
            head = more
        if head is None or (head.is_generic and len(head.kind.split()) == 1 and head.text == ""):
            return None
        return head

    def _head(self, start: int, bare: bool) -> Description | None:
        words = self.words
        if start >= len(words):
            return None
        word = words[start].lower
        if word in PRONOUN_HEADS or word == "what":
            behind = self._relative(start + 1)
            is_described = self._starts(start + 1, _LIKE) or (behind and word != "what")
            if word == "whatever" and self._word(start + 1) in _BE:
                return Description("", start, start + 2, "thing")
            return Description("", start, start + 1, "thing") if is_described else None
        has_determiner = word in DETERMINERS and word != "no"
        first = start + 1 if has_determiner else start
        if not has_determiner and not bare:
            return None
        sign = self._sign_stop(first) if has_determiner else None
        if sign is not None:
            return self._of_words(start, first, sign, words[start].text)
        end = chunk_end(words, first)
        last = trimmed(words, first, end)
        if last == first:
            if end > first and words[first].lower in ("one", "ones") and word in DETERMINERS:
                return Description("", start, first + 1, "thing", words[start].lower)
            return None
        last = self._noun_stop(first, last)
        determiner = words[start].text if has_determiner else ""
        return self._of_words(start, first, last, determiner)

    def _sign_stop(self, first: int) -> int | None:
        """One past "do not enter sign" at a word: what a sign says is its name."""
        if self._word(first) not in _SIGNS_BEGIN:
            return None
        for i in range(first + 1, min(first + 6, len(self.words))):
            if self._word(i) in _SIGNS:
                return i + 1
            if not self.words[i].is_word or self._word(i) in DETERMINERS - {"no"}:
                break
        return None

    def _noun_stop(self, first: int, last: int) -> int:
        """One past the noun: "the mug | closest to", "the thing | called"."""
        for i in range(first + 1, last):
            if self.words[i].lower in _NAMING or self._leaves_out_of(first, i):
                return i
        while last - 1 > first and (
            self.words[last - 1].lower in _LINKS
            or (self.words[last - 1].lower, self._word(last)) in _COMPARED
        ):
            last -= 1
        return last

    def _leaves_out_of(self, first: int, i: int) -> bool:
        """ "all the mugs | bar the red one"; "the candy bar" leaves nothing out."""
        if self._word(i) not in BEHIND_NAMES:
            return False
        said = {self._word(first - 1), self._word(first - 2)}
        is_some = bool(said & {"all", "every", "any", "each"}) or self._word(i - 1).endswith("s")
        return is_some and (
            self._word(i + 1) in DETERMINERS or self._word(i + 1) in ("for", "only")
        )

    def leaves_out(self, i: int) -> bool:
        """ "without the red one", "without the mug being touched": of the command, no handle."""
        other = self.read(i + 1) if self._word(i) == "without" else None
        if other is None:
            return False
        return other.kind.endswith((" one", " ones")) or self._word(other.stop) == "being"

    def _of_words(self, start: int, first: int, last: int, determiner: str) -> Description:
        words = self.words
        skipped = 0  # words of "not blue" or "non-blue" before the noun
        if words[first].lower in ("not", "non") and self._word(first + 1) in ADJECTIVES:
            skipped, adjective = 2, words[first + 1].text
        elif words[first].lower.startswith("non-") and words[first].lower[4:] in ADJECTIVES:
            skipped, adjective = 1, words[first].text[4:]
        if skipped and last - first > skipped:
            kind = self._slice(first + skipped, last)
            text, excluded = f"{determiner} {kind}".strip(), (f"the {adjective} {kind}",)
            return Description(text, start, last, kind, determiner, excluded)
        return Description(
            self._slice(start, last), start, last, self._slice(first, last), determiner
        )

    def _modified(self, head: Description, is_placed: bool) -> Description | None:
        """The description with one more modifier behind it, or None where none follows."""
        i = head.stop
        if self._word(i - 1) in _BE and not head.text:  # "whatever is a red cube"
            return self._as_predicate(head, i)
        best = self._best_of(head)
        if best is not None:
            return best
        relative = self._relative(i)
        if relative is not None:
            return self._with_clause(head, *relative, is_placed=is_placed)
        like = self._starts(i, _LIKE)
        if like:
            return self._as_predicate(head, i + like)
        if self.takes_not and self._word(i) == "not" and self._is_said_of(i + 1):
            return self._without_predicates(head, i + 1)
        if i < len(self.words) and is_participle(self.words[i].lower):
            stop = self._clause_stop(i + 1, is_placed)
            return self._verbatim(head, stop)
        return self._with_relation(head, i, is_placed)

    def _is_said_of(self, i: int) -> bool:
        """ "the man not | wearing a hat", "a ball not | blue", "the mug not | on the plate"."""
        word, behind = self._word(i), self._word(i + 1)
        ends = not behind or not behind[0].isalnum() or behind in ENDS
        is_adjective = word in ADJECTIVES and ends
        return bool(word) and (
            is_adjective
            or is_participle(word)
            or self.relation_stop(i, is_placed=False) is not None
        )

    def _best_of(self, head: Description) -> Description | None:
        """ "the biggest of the mugs" -> "the biggest mug"."""
        i, names = head.stop, head.kind.lower().split()
        if self._word(i) != "of" or not all(name in ADJECTIVES for name in names):
            return None
        others = self.read(i + 1)
        if others is None or not others.text or not others.kind:
            return None
        kind = f"{head.kind} {singular(others.kind)}"
        return replace(head, text=_with_article(head.determiner, kind), kind=kind, stop=others.stop)

    def _with_relation(self, head: Description, i: int, is_placed: bool) -> Description | None:
        stop = self.relation_stop(i, is_placed)
        return None if stop is None else self._verbatim(head, stop)

    def relation_stop(self, i: int, is_placed: bool) -> int | None:
        """One past the last word of "left of the cube" or "on the left" at a word."""
        cue = cue_at(self.words, i)
        is_aside = cue is not None and cue.effect is Effect.EXCEPT
        if is_aside or self._starts(i, ("in place",)) or self.leaves_out(i):
            return None
        for relation in _PARTS if is_placed else (*_RELATIONS, *_PARTS):
            if self._starts(i, (" ".join(relation),)):
                stop = self._complement(i + len(relation), relation)
                if stop is not None:
                    return stop
        if not is_placed:
            for place in _PLACES:
                if self._starts(i, (" ".join(place),)):
                    return i + len(place)
        return None

    def _complement(self, i: int, relation: tuple[str, ...]) -> int | None:
        if i >= len(self.words):
            return None
        word = self.words[i].lower
        if word in _ABOUT_ME:
            return i + 1 if len(relation) > 1 or relation[0] in ("near", "behind") else None
        if relation == ("with",) and self._is_instrument(i):
            return None
        if relation[0] == "without" and word.endswith("ing") and is_aside(word):
            return None
        if relation == ("with",) and word == "no":  # "the mug with no handle"
            other = self.read(i + 1, bare=True)
            return other.stop if other else None
        bare = relation[-1] in _TAKES_BARE
        other = self.read(i, bare=bare and word not in ENDS)
        if other is None or not other.text:
            return None
        if relation == ("between",) and self._word(other.stop) == "and":
            second = self.read(other.stop + 1, bare=False)
            return second.stop if second else other.stop
        return other.stop

    def instrument_stop(self, i: int) -> int | None:
        """One past "with your left hand", which is no object, at a word."""
        if self._word(i) not in ("with", "using") or not self._is_instrument(i + 1):
            return None
        return chunk_end(self.words, i + 2)

    def _is_instrument(self, i: int) -> bool:
        if self._word(i) in _POSSESSIVE_INSTRUMENTS:
            return True
        end = chunk_end(self.words, i + 1 if self._word(i) in DETERMINERS else i)
        return any(w.lower in _INSTRUMENTS for w in self.words[max(i, end - 1) : end])

    def _relative(self, i: int) -> tuple[int, bool, bool] | None:
        """Of "that is", "which isn't", "who has": where its predicate begins, whether it is said
        with a form of to be, and whether it is negated."""
        if self._word(i) == "," and self._word(i + 1) in ("which", "who"):
            i += 1
        word = self._word(i)
        if word in ("that's", "who's", "which's"):
            return self._negated(i + 1, True)
        if word not in _RELATIVES:
            return None
        verb = self._word(i + 1)
        if verb in _BE:
            return self._negated(i + 2, True)
        if seems := self._starts(i + 1, _SEEMS):
            return self._negated(i + 1 + seems, True)
        if verb in ("isn't", "aren't", "wasn't", "weren't"):
            return i + 2, True, True
        if not verb or not verb[0].isalpha() or verb in ("one", "ones"):
            return None
        return i + 1, False, False

    def _negated(self, i: int, is_copula: bool) -> tuple[int, bool, bool]:
        while self._word(i) in _ADVERBS and self._word(i + 1) in _NEGATED:
            i += 1
        if self._starts(i, ("anything but", "everything but")):
            return i + 2, is_copula, True
        i += self._starts(i, ("nothing but",))
        is_negated = self._word(i) in ("not", "never", "neither")
        return (i + 1 if is_negated else i), is_copula, is_negated

    def _with_clause(
        self, head: Description, i: int, is_copula: bool, is_negated: bool, *, is_placed: bool
    ) -> Description | None:
        while self._word(i) in _ADVERBS:
            i += 1
        if not is_copula:
            return self._with_verb_clause(head, i, is_placed)
        if is_negated:
            return self._without_predicates(head, i)
        like = self._starts(i, ("called", "named", "known as"))
        return self._as_predicate(head, i + like) or self._clause_kept(head, i, is_placed)

    def _with_verb_clause(self, head: Description, i: int, is_placed: bool) -> Description:
        like = self._starts(i, _LIKE)
        predicate = self._as_predicate(head, i + like) if like else None
        if predicate is not None:
            return predicate
        lacks = self._starts(i, _LACKS)
        if lacks:
            thing = self.read(i + lacks, bare=True)
            if thing is not None:
                name = head.text or f"{head.determiner} {head.kind}"
                return replace(head, text=f"{name} without {thing.text}", stop=thing.stop)
        return self._clause_kept(head, i, is_placed)

    def _clause_kept(self, head: Description, i: int, is_placed: bool) -> Description:
        """A clause that stays as it is said: "the man who is wearing a hat"."""
        stop = self._clause_stop(i, is_placed)
        said = [w.lower for w in self.words[head.stop : stop]]
        kept = self._verbatim(head, max(stop, i))
        if any(w in _NEGATED or w.endswith("n't") for w in said):
            clause = self._slice(head.stop, max(stop, i))
            return replace(kept, unclear=f"cannot tell which things {clause!r} leaves out")
        return kept

    def detached(self, i: int) -> Description | None:
        """What "that is not red" leaves out where no thing stands before it."""
        relative = self._relative(i)
        if relative is None or not relative[2]:
            return None
        found = self._without_predicates(Description("the thing", i, i, "thing"), relative[0])
        return None if found.unclear else found

    def predicate(self, head: Description, i: int) -> Description | None:
        """A head with what is said of it at a word: "which mug is | red" -> "the red mug"."""
        return self._as_predicate(head, i)

    def without(self, head: Description, i: int) -> Description:
        """The same, of what it is not."""
        return self._without_predicates(head, i)

    def _as_predicate(self, head: Description, i: int) -> Description | None:
        """ "the thing | a red cube" -> "the red cube"; "the mug | red" -> "the red mug"."""
        found = self._predicate(head, i)
        if found is None:
            return None
        text, kind, stop = found
        return replace(head, text=text, kind=kind, stop=stop)

    def _without_predicates(self, head: Description, i: int) -> Description:
        excluded: list[str] = []
        stop = i
        while (found := self._denied(head, stop)) is not None:
            excluded.append(_definite(found[0]))
            stop = found[2]
            joined = self._starts(stop, (", or", "or not", "and not", "nor", "or", ", not"))
            if not joined or self._predicate(head, stop + joined) is None:
                break
            stop += joined
        text = head.text or f"{head.determiner or 'the'} {head.kind}"
        if not excluded:
            said = self._slice(head.start, min(i + 1, len(self.words)))
            return replace(
                head, text=text, stop=max(i, head.stop), unclear=f"cannot tell what {said!r} means"
            )
        return replace(head, text=text, stop=stop, excluded=(*head.excluded, *excluded))

    def _denied(self, head: Description, i: int) -> tuple[str, str, int] | None:
        """A predicate, or what a thing is not doing: "not | wearing a hat"."""
        if is_participle(self._word(i)):
            stop = self._clause_stop(i + 1, is_placed=False)
            name = head.text or f"{head.determiner} {head.kind}"
            return f"{name} {self._slice(i, stop)}", head.kind, stop
        return self._predicate(head, i)

    def _predicate(self, head: Description, i: int) -> tuple[str, str, int] | None:
        """What is said of a head at a word: the head with it in, its kind, and where it ends."""
        determiner, kind = head.determiner, head.kind
        relation = self.relation_stop(i, is_placed=False)
        if relation is not None:
            name = head.text or f"{determiner} {kind}"
            return f"{name} {self._slice(i, relation)}", kind, relation
        word = self._word(i)
        if word in DETERMINERS and word != "no":
            return self._nominal(head, i)
        if word in ENDS or word in _JOINING or (word and is_participle(word)):
            return None
        stop = trimmed(self.words, i, chunk_end(self.words, i))
        if stop <= i:
            return None
        said = self._slice(i, stop)
        names = [w.lower for w in self.words[i:stop]]
        is_plural = kind.lower() in GENERIC and names[-1].endswith("s") and kind.endswith("s")
        is_noun = names[0] in ADJECTIVES and names[-1] not in ADJECTIVES and len(names) > 1
        if head.is_generic and (is_plural or is_noun):
            return f"the {said}", said, stop
        stop, said = self._more_adjectives(stop, said)
        return _with_article(determiner, f"{said} {kind}"), f"{said} {kind}", stop

    def _nominal(self, head: Description, i: int) -> tuple[str, str, int] | None:
        """ "a red cube", "the red one", "the biggest" behind a form of to be."""
        words = self.words
        end = self._noun_stop(i + 1, chunk_end(words, i + 1))
        names = [w.lower for w in words[i + 1 : end]]
        only_adjectives = bool(names) and all(n in ADJECTIVES | {"one", "ones"} for n in names)
        if only_adjectives:
            said = " ".join(w.text for w in words[i + 1 : end] if w.lower not in ("one", "ones"))
            name = f"{said} {head.kind}".strip()
            return _with_article("the", name), name, end
        other = self.read(i)
        if other is None or not other.text or other.excluded or other.unclear:
            return None
        if other.is_generic and not head.is_generic:
            said = " ".join(other.kind.split()[:-1])
            name = f"{said} {head.kind}".strip()
            return _with_article("the", name), name, other.stop
        return _definite(other.text), other.kind, other.stop

    def _more_adjectives(self, stop: int, said: str) -> tuple[int, str]:
        """ "big and red", "small, red": further adjectives of the same predicate."""
        while self._word(stop) in ("and", "but", ",") and self._word(stop + 1) in ADJECTIVES:
            said += f" {self.words[stop + 1].text}"
            stop += 2
        return stop, said

    def _apposition(self, head: Description) -> Description | None:
        """ "the cube, the red one"."""
        i = head.stop
        meant = self._starts(i + 1, ("i mean", "namely", "that is", "i meant", "to be exact ,"))
        i += meant
        if self._word(i - meant) != "," or self._word(i + 1) != "the" or head.is_generic:
            return None
        end = self._noun_stop(i + 2, chunk_end(self.words, i + 2))
        names = [w.lower for w in self.words[i + 2 : end]]
        if len(names) < 2 or names[-1] != "one" or not all(n in ADJECTIVES for n in names[:-1]):
            return None
        kind = f"{' '.join(names[:-1])} {head.kind}"
        return replace(head, text=_with_article(head.determiner, kind), kind=kind, stop=end)

    def _clause_stop(self, i: int, is_placed: bool) -> int:
        """One past the last word of a clause that describes: until it ends, or a place to go to."""
        while i < len(self.words):
            word = self.words[i]
            if not word.is_word or word.lower in _JOINING or self._is_outside(i):
                return i
            if is_placed and word.lower in ("on", "onto", "in", "into", "to", "next", "behind"):
                return i
            inner = self.read(i) if word.lower in DETERMINERS else None
            i = inner.stop if inner else i + 1
        return i

    def _is_outside(self, i: int) -> bool:
        """ "right now", "for me", "with your hand", "without touching the ball": of the command,
        not of the thing."""
        word, behind = self._word(i), self._word(i + 1)
        if (word in ("for", "to") and behind in _ABOUT_ME) or (word, behind) == ("right", "now"):
            return True
        if word == "with" and self._is_instrument(i + 1):
            return True
        cue = cue_at(self.words, i)
        return cue is not None and word not in _NEGATED and not word.endswith("n't")

    def _verbatim(self, head: Description, stop: int) -> Description:
        """With the words up to `stop` behind it as they are said."""
        name = head.text or f"{head.determiner or 'the'} {head.kind}"
        return replace(head, text=f"{name} {self._slice(head.stop, stop)}".strip(), stop=stop)

    def _slice(self, start: int, stop: int) -> str:
        if stop <= start:
            return ""
        return self.text[self.words[start].start : self.words[stop - 1].end]

    def _word(self, i: int) -> str:
        return self.words[i].lower if 0 <= i < len(self.words) else ""

    def _starts(self, i: int, sayings: Sequence[str]) -> int:
        """How many words of one of the sayings stand at a word; 0: none of them does."""
        for saying in sayings:
            parts = saying.split()
            if [self._word(i + n) for n in range(len(parts))] == parts:
                return len(parts)
        return 0


def is_participle(word: str) -> bool:
    """ "standing", "wearing", "placed": what a thing does, or what was done to it."""
    if word in ("using", "avoiding", "ignoring", "excluding", "leaving", "keeping", "including"):
        return False
    if word.endswith("ing") and len(word) > 5:
        return is_aside(word)
    return word in _DONE


_DONE = word_set(
    "placed located seated parked filled covered surrounded dressed positioned attached made "
    "painted marked labelled labeled lying shown"
)


def _definite(text: str) -> str:
    """ "a red cube" -> "the red cube"."""
    first, _, rest = text.partition(" ")
    return f"the {rest}" if rest and first.lower() in _INDEFINITE else text


def _with_article(determiner: str, name: str) -> str:
    """A name behind its determiner; "a" becomes "an" where it must."""
    if determiner.lower() in ("a", "an"):
        determiner = "an" if name[:1].lower() in "aeiou" else "a"
    return f"{determiner or 'the'} {name}"
