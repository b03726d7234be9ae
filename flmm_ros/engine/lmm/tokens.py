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

"""Prompts to tokens, with the place of every phrase.

The whole prompt is always tokenised in one piece and then cut after the last image token, so that
the suffix on a cached image prefix holds exactly the tokens the model was trained to see, whatever
the tokenizer does at word borders. Characters are the common currency: phrases are spans of
characters. What users type is never a control token (encoding.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from flmm_ros.engine.errors import ConfigError, PromptError, UnknownWordError
from flmm_ros.engine.lmm.decoding import Decoded, TextStream, covering, decoded
from flmm_ros.engine.lmm.encoding import EncodedPrompt, Piece, PromptEncoder, Span


@dataclass(frozen=True)
class Suffix:
    """What follows the image: ids, and for each phrase the half-open range of ids to read.

    branches: half-open ranges of ids, one after another, that do not see each other; each goes on
    from what stands before the first of them. None: the ids are one text.
    """

    ids: tuple[int, ...]
    spans: tuple[Span, ...] = ()
    branches: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One command of a conversation and the answer it got."""

    command: str
    answer: str


class PromptTokens:
    """A tokenizer bound to a prompt template.

    template: holds `<image>` (or the family's own marker) and `{text}`; the answer follows it.
    next_turn: stands between an answer and the next one of a conversation, with its own `{text}`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        image_token_id: int,
        next_turn: str = "{text}",
    ) -> None:
        if not tokenizer.is_fast:
            raise ConfigError(
                "tokenizer: expected a fast tokenizer (tokenizer.json), got a slow one; convert it "
                "with transformers' save_pretrained"
            )
        for key, value in (("template", template), ("next_turn", next_turn)):
            if value.count("{text}") != 1:
                raise ConfigError(
                    f"{key}: expected exactly one '{{text}}', got {value!r}; see config/models"
                )
        self.tokenizer = tokenizer
        self.template = _without_start(template, tokenizer)
        self.next_turn = next_turn
        self.image_token_id = image_token_id
        self._encoder = PromptEncoder(tokenizer)

    @cached_property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer: the tokenizer's end token, and the control token that the
        template writes after an answer."""
        known = {self.tokenizer.eos_token_id, self._encoder.first_control(self.next_turn)}
        return frozenset(id_ for id_ in known if id_ is not None)

    def is_control(self, id_: int) -> bool:
        """Whether a token steers the model, rather than being text."""
        return id_ in self._encoder.control_ids

    def prefix(self) -> tuple[int, ...]:
        """The ids up to and including the last image token; the same for every prompt."""
        ids = self._encoder.encode([Piece(self.template.replace("{text}", ""), True)]).ids
        return ids[: self._cut(ids)]

    def question(self, command: str, history: Sequence[Turn] = ()) -> Suffix:
        """The suffix after which the model answers a command.

        Raises:
            UnknownWordError: the model has no token for a word of the command.
            PromptError: the command holds the model's own image marker.
        """
        return self.reading(command, "", (), history)

    def reading(
        self,
        command: str,
        answer: str,
        text_spans: Sequence[Span],
        history: Sequence[Turn] = (),
    ) -> Suffix:
        """The suffix of a command and the answer to it, with spans of the answer located.

        history: what was said before on the same image, oldest first. Turns with words that the
            model has no token for are left out: only the present command can be refused for them.

        Raises:
            UnknownWordError: the model has no token for a word of the command or the answer.
            PromptError: a span covers no token, or a text holds the model's own image marker, or
                another control token that is a word of its vocabulary.
        """
        self._refuse_marker(command, answer)
        pieces: list[Piece] = []
        turns = [turn for turn in history if self._takes(f"{turn.command} {turn.answer}")]
        for n, turn in enumerate(turns):
            frame = self.next_turn if n else self.template
            pieces += _asked(frame, turn.command, _gap_after(frame))
            pieces.append(Piece(turn.answer))
        frame = self.next_turn if turns else self.template
        gap = _gap_after(frame.replace("{text}", command)) if answer else ""
        pieces += _asked(frame, command, gap)
        shift = sum(len(piece.text) for piece in pieces)
        pieces.append(Piece(answer))
        prompt = self._encoder.encode(pieces)
        self._refuse_unknown(prompt)
        if prompt.control_words:
            raise PromptError(
                f"expected text, got the model's control token {prompt.control_words[0]!r}; "
                "leave it out"
            )
        cut = self._cut(prompt.ids)
        moved = [(a + shift, b + shift) for a, b in text_spans]
        spans = [covering(prompt.text, prompt.offsets, span) for span in moved]
        return Suffix(prompt.ids[cut:], tuple((a - cut, b - cut) for a, b in spans))

    def decode(self, ids: Sequence[int]) -> Decoded:
        """Generated ids to text, leading and trailing space removed."""
        return decoded(self.tokenizer, ids)

    def stream(self) -> TextStream:
        """For an answer whose tokens come one by one."""
        return TextStream(self.tokenizer)

    def _cut(self, ids: Sequence[int]) -> int:
        """Index after the image token."""
        count = list(ids).count(self.image_token_id)
        if count == 0:
            raise ConfigError(
                f"template: expected the image token (id {self.image_token_id}) in the tokenised "
                f"prompt, got none; does {self.template!r} hold the model's image marker?"
            )
        if count > 1:
            raise PromptError(
                f"expected text about the one image, got {count - 1} more image markers in it; "
                "leave them out"
            )
        return list(ids).index(self.image_token_id) + 1

    def _takes(self, text: str) -> bool:
        """Whether a text can be said to the model: it has a token for every word."""
        prompt = self._encoder.encode([Piece(text)])
        return self.tokenizer.unk_token_id not in prompt.ids and not prompt.control_words

    def _refuse_marker(self, *texts: str) -> None:
        """What names the image itself is refused, and not merely read as text: whoever types it
        means a second image."""
        marker = self.tokenizer.convert_ids_to_tokens(self.image_token_id)
        count = sum(text.count(str(marker)) for text in texts)
        if count:
            raise PromptError(
                f"expected text about the one image, got {count} more image markers in it; "
                "leave them out"
            )

    def _refuse_unknown(self, prompt: EncodedPrompt) -> None:
        unknown = self.tokenizer.unk_token_id
        if unknown is None or unknown not in prompt.ids:
            return
        # The template itself may hold characters the model has no word for; they are not the
        # user's.
        words = dict.fromkeys(
            prompt.text[start:stop].strip()
            for id_, (start, stop) in zip(prompt.ids, prompt.offsets, strict=True)
            if id_ == unknown and stop > start
        )
        words = {w: None for w in words if w and w not in self.template + self.next_turn}
        if words:
            named = ", ".join(f"'{word}'" for word in words)
            raise UnknownWordError(
                f"expected words this model knows, got {named}; say it in other words",
                tuple(words),
            )


def branched(suffixes: Sequence[Suffix]) -> Suffix:
    """Several texts as one suffix that is read at once, each as if it were alone.

    What they begin with in common, before the first span, stands there once.
    """
    if len(suffixes) == 1:
        return suffixes[0]
    shared = min(start for suffix in suffixes for start, _ in suffix.spans)
    first = suffixes[0].ids
    while any(suffix.ids[:shared] != first[:shared] for suffix in suffixes):
        shared -= 1
    ids, spans, branches = list(first[:shared]), [], []
    for suffix in suffixes:
        shift = len(ids) - shared
        spans += [(start + shift, stop + shift) for start, stop in suffix.spans]
        branches.append((len(ids), len(suffix.ids) + shift))
        ids += suffix.ids[shared:]
    return Suffix(tuple(ids), tuple(spans), tuple(branches))


def _asked(frame: str, command: str, gap: str) -> list[Piece]:
    """A turn up to where its answer begins."""
    before, after = frame.split("{text}")
    return [Piece(before, True), Piece(command), Piece(after + gap, True)]


def _gap_after(text: str) -> str:
    """An answer follows a colon after a blank, and a line break without one."""
    return "" if text[-1:].isspace() else " "


def _without_start(template: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """A template without the start token, where the tokenizer itself puts it before every text."""
    start = tokenizer.bos_token
    puts_it = tokenizer.bos_token_id in tokenizer("").input_ids[:1]
    return template.removeprefix(start) if start and puts_it else template
