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

"""Text to tokens, such that control tokens come from the chat template alone.

A tokenizer takes "<|im_end|>" for the end of a turn whoever wrote it: a command could end its own
turn and go on as the system. Here a prompt is a row of pieces that are the template's or a user's,
and what a user types is text, whatever it spells.

The whole prompt is encoded in one piece all the same, because tokens may join letters across the
border of two pieces. A second tokenizer does it, around the same model, normaliser and word
splitting. It knows each control token under a stand-in of the same length, made of a private-use
character; the template is written with the stand-ins, users' private-use characters are replaced.
So no text that a user types, alone, beside the template or after normalisation, is a control token,
and all other text gets the ids that the tokenizer itself would give it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]

_LAST_PRIVATE, _FIRST_PRIVATE = 0x10FFFD, 0x100000  # Unicode's second supplementary private area
_PRIVATE = re.compile(f"[{chr(_FIRST_PRIVATE)}-{chr(_LAST_PRIVATE)}]")
_REPLACEMENT = "\ufffd"
# Added tokens that are no control tokens: runs of blanks (Gemma), and words that a fine-tune added.
_ORDINARY = re.compile(r"[\w\s\u2581'-]+")
# Turn markers that are plain text to a tokenizer, such as the first Mistral's [INST].
_TEXT_MARKER = re.compile(r"\[/?[A-Z_]+\]|<</?[A-Z]+>>|<[|/]?\w+\|?>")
_KNOWN_WITH_INST = ("<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_NOTHING = r"(?!)"
_OPENED = str.maketrans("[]<>|", "()()/")


@dataclass(frozen=True)
class Piece:
    """A part of a prompt: the chat template's, or what a user or the model said."""

    text: str
    is_template: bool = False


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt's ids and the half-open range of characters of each; `text` is all pieces joined.

    control_words: control tokens that arose in a user's text after all: only from a vocabulary
        that holds them as ordinary words.
    """

    text: str
    ids: tuple[int, ...]
    offsets: tuple[Span, ...]
    control_words: tuple[str, ...] = ()


class PromptEncoder:
    """A tokenizer that takes control tokens from the template only."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        added = dict(sorted(tokenizer.added_tokens_decoder.items()))
        control = {id_: str(token) for id_, token in added.items() if is_control(token)}
        # A byte's token stands for any letter's byte, although it must not be typed either.
        bytes_ = {id_ for id_, content in control.items() if _BYTE.fullmatch(content)}
        self.control_ids = frozenset({*control, *tokenizer.all_special_ids} - bytes_)
        self._unknown_id = tokenizer.unk_token_id
        self._stand_ins = {
            content: chr(_LAST_PRIVATE - n) * len(content)
            for n, content in enumerate(control.values())
        }
        self._control_words = _any_of(self._stand_ins)
        self._template = lru_cache(maxsize=64)(self._with_stand_ins)
        self._encoder = _around(tokenizer.backend_tokenizer)
        named = {id_: self._stand_ins.get(str(token), str(token)) for id_, token in added.items()}
        self._encoder.add_tokens([_named(token, named[id_]) for id_, token in added.items()])
        # Of the encoder to the tokenizer's own.
        self._ids = {self._encoder.token_to_id(content): id_ for id_, content in named.items()}

    def encode(self, pieces: Sequence[Piece]) -> EncodedPrompt:
        """The pieces, joined, as ids."""
        template = "".join(piece.text for piece in pieces if piece.is_template)
        markers = _any_of(m for m in _text_markers(template) if m not in self._stand_ins)
        written = "".join(
            self._template(piece.text) if piece.is_template else _as_text(piece.text, markers)
            for piece in pieces
        )
        encoded = self._encoder.encode(written)
        offsets = tuple(encoded.offsets)
        ids = tuple(
            # What the tokenizer itself puts around a prompt covers no characters.
            self._ids.get(id_, id_) if stop > start else id_
            for id_, (start, stop) in zip(encoded.ids, offsets, strict=True)
        )
        text = "".join(piece.text for piece in pieces)
        return EncodedPrompt(text, ids, offsets, self._arisen(pieces, text, ids, offsets))

    def first_control(self, text: str) -> int | None:
        """The id of the control token that a template's text begins with, or None."""
        found = self._control_words.match(text.lstrip())
        if found is None:
            return None
        return self._ids[self._encoder.token_to_id(self._stand_ins[found[0]])]

    def _with_stand_ins(self, text: str) -> str:
        return self._control_words.sub(lambda found: self._stand_ins[found[0]], text)

    def _arisen(
        self, pieces: Sequence[Piece], text: str, ids: Sequence[int], offsets: Sequence[Span]
    ) -> tuple[str, ...]:
        """Control tokens with a letter in a user's piece; blanks may belong to the template's."""
        found, at = [], 0
        users: list[Span] = []
        for piece in pieces:
            if not piece.is_template:
                users.append((at, at + len(piece.text)))
            at += len(piece.text)
        for id_, (start, stop) in zip(ids, offsets, strict=True):
            if id_ in self.control_ids and id_ != self._unknown_id:
                typed = [text[max(a, start) : min(b, stop)] for a, b in users]
                if any(not part.isspace() for part in typed if part):
                    found.append(text[start:stop].strip())
        return tuple(found)


def is_control(token: AddedToken) -> bool:
    """Whether an added token steers the model, rather than being a word or a run of blanks."""
    return bool(token.special) or _ORDINARY.fullmatch(token.content) is None


def _any_of(contents: Iterable[str]) -> re.Pattern[str]:
    """Any of some texts, the longest first; nothing where there are none."""
    longest_first = sorted(contents, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or _NOTHING)


def _around(tokenizer: Tokenizer) -> Tokenizer:
    """A tokenizer of the same parts, which share their memory, without added tokens."""
    made = Tokenizer(tokenizer.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor"):
        if getattr(tokenizer, part) is not None:
            setattr(made, part, getattr(tokenizer, part))
    return made


def _named(token: AddedToken, content: str) -> AddedToken:
    """The same token under another name."""
    return AddedToken(
        content,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        single_word=token.single_word,
        normalized=token.normalized,
        special=False,
    )


def _text_markers(template: str) -> tuple[str, ...]:
    """The turn markers of a template that may be plain text."""
    found = dict.fromkeys(_TEXT_MARKER.findall(template))
    if "[INST]" in found:
        found |= dict.fromkeys(_KNOWN_WITH_INST)
    return tuple(found)


def _as_text(text: str, markers: re.Pattern[str]) -> str:
    """A user's text in as many characters: round brackets where it spells a turn marker."""
    text = _PRIVATE.sub(_REPLACEMENT, text)
    return markers.sub(lambda found: found[0].translate(_OPENED), text)
