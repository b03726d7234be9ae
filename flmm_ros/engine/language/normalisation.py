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

r"""One form for text as people type it, with the place of every character in what they typed.

Phones write typographic apostrophes, speech recognisers full-width letters, editors non-breaking
and zero-width spaces, macOS decomposed accents. The rules of this folder read the normal form
only, and give ranges of characters of the text as typed.

    normal = normalised("the gru\u0308n mug")   # "the grün mug"
    normal.typed_span((4, 8))                    # (4, 9)

Sources: Unicode Standard Annex 15 (normalisation forms), Annex 29 (grapheme clusters).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

Span = tuple[int, int]

_FIRST_COMBINING_SCRIPT = 0x0590  # joiners are letters' business from Hebrew on, and emoji's
_JOINERS = "\u200c\u200d"
REPLACEMENT = "\ufffd"
_TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Nothing to do: printable ASCII, single blanks between words, none of what is replaced.
_PLAIN = re.compile(r"(?!.*--)[!-^a-~](?:[!-^a-~]| (?! |$))*")
_TYPED_DASH = re.compile(r"--+")

# Before compatibility forms: as Unicode has it, an acute accent is a blank with a mark on it, and
# the sign for "number" is the word "No".
_BEFORE = str.maketrans({"\u00b4": "'", "\u2116": "#", "\u2122": "", "\u00ae": "", "\u00a9": ""})
_AFTER = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02b9\u02bb\u02bc\u02bd\u055a\u05f3`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u2039\u203a\u05f4", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\u00ad\ufe63", "-")
    | dict.fromkeys("\u2014\u2015\u2e3a\u2e3b", " - ")
    | {"_": " ", "\u200b": " ", "\u3001": ",", "\u3002": "."}
)


@dataclass(frozen=True)
class NormalText:
    """A text in normal form.

    typed: as it came. spans: for each character of `text`, the half-open range of characters of
    `typed` it was made from: a whole grapheme, never a part of one.
    """

    text: str
    typed: str
    spans: tuple[Span, ...]

    def typed_span(self, span: Span) -> Span:
        """A half-open range of `text` as one of `typed`."""
        start, stop = span
        if start >= stop:
            at = self.spans[start][0] if start < len(self.spans) else len(self.typed)
            return at, at
        return self.spans[start][0], self.spans[stop - 1][1]


def normalised(text: str) -> NormalText:
    """The normal form: composed letters, straight quotes, plain dashes, single blanks.

    Compatibility forms (full width, ligatures, styled letters) become the letters they stand for
    (NFKC). Characters that cannot be seen are taken out, except the joiners that belong to a
    script or an emoji. Half a surrogate pair becomes the replacement character.
    """
    if _PLAIN.fullmatch(text):
        return NormalText(text, text, tuple((i, i + 1) for i in range(len(text))))
    letters: list[tuple[str, Span]] = []
    start = 0
    while start < len(text):
        colour = _TERMINAL_COLOUR.match(text, start)
        dash = _TYPED_DASH.match(text, start)
        if colour or dash:
            stop = (colour or dash).end()  # type: ignore[union-attr]
            letters += [(c, (start, stop)) for c in (" - " if dash else "")]
        else:
            stop = start + 1
            while stop < len(text) and _continues(text[stop - 1], text[stop]):
                stop += 1
            letters += [(c, (start, stop)) for c in _normal(text[start:stop])]
        start = stop
    kept: list[tuple[str, Span]] = []
    for letter, span in letters:
        is_blank = letter.isspace()
        if not is_blank or (kept and kept[-1][0] != " "):
            kept.append((" " if is_blank else letter, span))
    if kept and kept[-1][0] == " ":
        kept.pop()
    return NormalText("".join(c for c, _ in kept), text, tuple(span for _, span in kept))


def is_word_character(character: str) -> bool:
    """A letter, a digit, a mark on one, or what is left of one that was lost."""
    return (
        unicodedata.category(character)[0] in "LMN"
        or character == REPLACEMENT
        or character in _JOINERS
    )


def is_pictograph(character: str) -> bool:
    """An emoji or another sign that shows a thing."""
    return unicodedata.category(character) == "So" and character != REPLACEMENT


def _continues(before: str, character: str) -> bool:
    """Whether a character belongs to the grapheme of the one before it."""
    category = unicodedata.category(character)
    return (
        category.startswith("M")
        or (category == "Cf" and character != "\u200b")
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # the tone of a skin
        or (before == _JOINERS[1] and is_pictograph(character))
        or _is_hangul_tail(character)
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= character <= "\udfff")
    )


def _is_hangul_tail(character: str) -> bool:
    """A vowel or final consonant that composes with the letter before it."""
    return "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7ff"


def _normal(grapheme: str) -> str:
    if grapheme.isascii() and grapheme.isalnum():
        return grapheme
    joined = ord(grapheme[0]) >= _FIRST_COMBINING_SCRIPT
    seen = "".join(_visible(character, joined) for character in _paired(grapheme))
    seen = seen.translate(_BEFORE)
    plain = unicodedata.normalize("NFKC", seen)
    if len({is_word_character(character) for character in plain}) > 1:
        plain = unicodedata.normalize("NFC", seen)  # "1/4" of one character would be cut in two
    return plain.translate(_AFTER)


def _visible(character: str, keeps_joiners: bool) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        is_kept = character == "\u200b" or (
            keeps_joiners and (character in _JOINERS or character >= "\U000e0020")
        )
        return character if is_kept else ""
    return " " if category == "Cc" else character


def _paired(grapheme: str) -> str:
    """Two halves of a surrogate pair as one character; a lone half as the replacement."""
    return grapheme.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
