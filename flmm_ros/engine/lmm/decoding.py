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

"""Generated tokens to text: as they come, and as a whole with the place of every token."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.lmm.encoding import Span

CONTEXT = 8  # tokens decoded again with the next ones: joining words may change what is before
LONGEST = 8 * CONTEXT  # tokens decoded at once, whatever they are
_EDGE_SIGNS = "'\"`.,;:!?…¿¡、。，！？"
_EDGE_CATEGORIES = ("Ps", "Pe", "Pi", "Pf")
_HALF_A_LETTER = "\ufffd"  # what a decoder writes for bytes that are no whole letter (yet)


@dataclass(frozen=True)
class Decoded:
    """Generated text, and for each generated id its half-open range of characters in it."""

    text: str
    offsets: tuple[Span, ...]

    def token_span(self, text_span: Span) -> Span:
        """The ids with a letter of these characters; see `covering`.

        Raises:
            PromptError: no id has one.
        """
        return covering(self.text, self.offsets, text_span)

    def text_span(self, token_span: Span) -> Span:
        """The characters of these ids, from the first letter to the last; empty where they have
        none. What a token holds besides, such as an opening quote, is left out."""
        start, stop = self.offsets[token_span[0]][0], self.offsets[token_span[1] - 1][1]
        while start < stop and _is_edge(self.text[start]):
            start += 1
        while start < stop and _is_edge(self.text[stop - 1]):
            stop -= 1
        return start, stop


def covering(text: str, offsets: Sequence[Span], text_span: Span) -> Span:
    """The half-open range of tokens that have a letter or sign of a range of characters.

    Blanks at the ends of the range do not count. A token is the least that can be read: where one
    holds the phrase's first letters and a quote before them (Qwen's `"The`), that token is the
    phrase's, quote and all.

    Raises:
        PromptError: there is none.
    """
    start, stop = text_span
    words = text[start:stop]
    if not words.isspace():
        start += len(words) - len(words.lstrip())
        stop -= len(words) - len(words.rstrip())
    hits = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start and b > a]
    if not hits:
        raise PromptError(f"expected words at characters {start}..{stop}, got no token there")
    return hits[0], hits[-1] + 1


class TextStream:
    """The text of an answer while its tokens come, at a cost that does not grow with its length.

    Only the last few tokens are decoded with each new one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._settled = ""  # text of the tokens before the window
        self._window: list[int] = []
        self._window_text = ""
        self._kept: int | None = None  # where the next window begins, within this one
        self._shown = ""

    def add(self, id_: int) -> None:
        """One more token of the answer."""
        self._window.append(id_)
        self._window_text = self._decoded(self._window)
        if self.is_whole:
            self._shown = self._settled + self._window_text
        elif len(self._window) < LONGEST:
            return
        if self._kept is None:
            self._kept = len(self._window) if len(self._window) >= CONTEXT else None
        elif len(self._window) - self._kept >= CONTEXT:
            self._move_window(self._kept)

    @property
    def length(self) -> int:
        """Characters so far, blanks at the ends and half letters included."""
        return len(self._settled) + len(self._window_text)

    @property
    def text(self) -> str:
        """What can be shown so far: whole letters only, without blanks at the ends."""
        return self._shown.replace(_HALF_A_LETTER, "").strip()

    @property
    def is_whole(self) -> bool:
        """Whether the last token ended a letter; some letters are several tokens."""
        return not self._window_text.endswith(_HALF_A_LETTER)

    def _move_window(self, start: int) -> None:
        """The window begins `start` tokens later."""
        window = self._window[start:]
        # Some decoders drop the blank before the first word: it stays with what is settled.
        window_text = self._decoded(window)
        if not self._window_text.endswith(window_text) and len(self._window) < LONGEST:
            self._kept = start + 1  # this token depends on the one before it: the next may not
            return
        whole = self._settled + self._window_text
        self._settled = whole[: max(len(self._settled), len(whole) - len(window_text))]
        self._window, self._window_text = window, whole[len(self._settled) :]
        self._kept = len(window)

    def _decoded(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text


def decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Decoded:
    """Generated ids to text, leading and trailing space removed."""
    raw: str = tokenizer.decode(list(ids), skip_special_tokens=True)
    lead = len(raw) - len(raw.lstrip())
    text = raw.strip()
    stream, start, waiting = TextStream(tokenizer), 0, 0
    offsets: list[Span] = []
    for n, id_ in enumerate(ids, start=1):
        stream.add(id_)
        waiting += 1
        if stream.is_whole or n == len(ids):
            # Joining may shorten what was already said ("mug ." -> "mug."): ends never run
            # backwards. The tokens of one letter all have its place.
            stop = max(start, min(max(stream.length - lead, 0), len(text)))
            offsets += [(start, stop)] * waiting
            start, waiting = stop, 0
    return Decoded(text, tuple(offsets))


def _is_edge(character: str) -> bool:
    """Blanks, quotes, brackets, and what ends a sentence or a part of one."""
    return (
        character.isspace()
        or character in _EDGE_SIGNS
        or unicodedata.category(character) in _EDGE_CATEGORIES
    )
