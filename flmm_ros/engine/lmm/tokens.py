"""Text to tokens and back, with the place of every word.

The whole prompt is always tokenised in one piece and then cut after the last image token, so that
the suffix on a cached image prefix holds exactly the tokens the model was trained to see, whatever
the tokenizer does at word borders. Characters are the common currency: phrases are spans of
characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from flmm_ros.engine.errors import ConfigError, PromptError, UnknownWordError

Span = tuple[int, int]


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


@dataclass(frozen=True)
class Decoded:
    """Generated text, and for each generated id its half-open range of characters in it."""

    text: str
    offsets: tuple[Span, ...]

    def token_span(self, text_span: Span) -> Span:
        """The ids that cover these characters.

        Raises:
            PromptError: no id covers them.
        """
        return _covering(self.offsets, text_span)

    def text_span(self, token_span: Span) -> Span:
        """The characters of these ids, without blanks around them; empty where they have none."""
        start, stop = self.offsets[token_span[0]][0], self.offsets[token_span[1] - 1][1]
        words = self.text[start:stop]
        start += len(words) - len(words.lstrip())
        return start, start + len(words.strip())


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
        self.template = template
        self.next_turn = next_turn
        self.image_token_id = image_token_id

    def prefix(self) -> tuple[int, ...]:
        """The ids up to and including the last image token; the same for every prompt."""
        ids = list(self.tokenizer(self.template.replace("{text}", "")).input_ids)
        return tuple(ids[: self._cut(ids)])

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
            PromptError: a span covers no token, or a text holds the model's own image marker.
        """
        head = ""
        turns = [turn for turn in history if self._knows(f"{turn.command} {turn.answer}")]
        for n, turn in enumerate([*turns, Turn(command, "")]):
            frame = self.next_turn if n else self.template
            # An answer follows a colon after a blank, and a line break without one.
            gap = "" if frame[-1:].isspace() or n == len(turns) else " "
            head += frame.replace("{text}", turn.command) + gap + turn.answer
        gap = "" if head[-1:].isspace() else " "
        text = f"{head}{gap}{answer}" if answer else head
        encoded = self.tokenizer(text, return_offsets_mapping=True)
        ids, offsets = list(encoded.input_ids), list(encoded.offset_mapping)
        self._refuse_unknown(text, ids, offsets)
        cut, shift = self._cut(ids), len(head) + len(gap)
        spans = [_covering(offsets, (a + shift, b + shift)) for a, b in text_spans]
        return Suffix(tuple(ids[cut:]), tuple((a - cut, b - cut) for a, b in spans))

    def decode(self, ids: Sequence[int]) -> Decoded:
        """Generated ids to text, leading and trailing space removed."""
        ends = [
            len(self.tokenizer.decode(list(ids[: i + 1]), skip_special_tokens=True))
            for i in range(len(ids))
        ]
        raw = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        lead = len(raw) - len(raw.lstrip())
        text = raw.strip()
        limits = [0, *(min(max(end - lead, 0), len(text)) for end in ends)]
        # Joining may shorten what was already said ("mug ." -> "mug."): ends never run backwards.
        for i in range(1, len(limits)):
            limits[i] = max(limits[i], limits[i - 1])
        return Decoded(text, tuple(zip(limits[:-1], limits[1:], strict=True)))

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

    def _knows(self, text: str) -> bool:
        """Whether the model has a token for every word of a text."""
        unknown = self.tokenizer.unk_token_id
        return unknown is None or unknown not in self.tokenizer(text).input_ids

    def _refuse_unknown(self, text: str, ids: Sequence[int], offsets: Sequence[Span]) -> None:
        unknown = self.tokenizer.unk_token_id
        if unknown is None or unknown not in ids:
            return
        # The template itself may hold characters the model has no word for; they are not the
        # user's.
        words = dict.fromkeys(
            text[start:stop].strip()
            for id_, (start, stop) in zip(ids, offsets, strict=True)
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


def _covering(offsets: Sequence[Span], text_span: Span) -> Span:
    """The half-open range of tokens that overlap a range of characters."""
    start, stop = text_span
    hits = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start and b > a]
    if not hits:
        raise PromptError(f"expected words at characters {start}..{stop}, got no token there")
    return hits[0], hits[-1] + 1
