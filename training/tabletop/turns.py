"""Turns about an image as tokens: the embedded tokenizer, and many turns packed behind one image.

Several turns about one image share one forward: each sees the image and itself only (a block mask),
with the positions it would have alone.
Does not know about: models, training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from flmm_ros.tools.tabletop import SceneObject
from training.tabletop.language import draw, words_known
from training.tabletop.samples import Sample

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
PREFIX_TEXT = "USER: <image>"  # the LLaVA-1.5 template, cut after the image
TURN_TEXT = "\n{prompt} ASSISTANT:"
NEXT_TURN_TEXT = "USER: {prompt} ASSISTANT:"  # after the end token of the answer before


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over everything the tabletop texts can say; lower case."""
    words = ["user", "assistant", ":", ".", ",", "?", "!", *words_known()]
    vocabulary = {w: i for i, w in enumerate([*SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True)
class Batch:
    """B images with several turns each. ids, targets [B, S] (-100: not learned), mask bool
    [B, 1, S, S] (True: may look), positions [B, S]."""

    ids: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor


class TurnPacker:
    """Tokenises turns and packs them behind one image prefix."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, image_tokens: int) -> None:
        self.tokenizer = tokenizer
        ids = tokenizer(PREFIX_TEXT).input_ids
        self.prefix = ids[:-1] + ids[-1:] * image_tokens

    def lead_ids(self, sample: Sample) -> list[int]:
        """Tokens between the image and the answer: the turns before, and the prompt."""
        ids: list[int] = []
        for turn in sample.before:
            ids += self._prompt_ids(turn, bool(ids)) + self._answer(turn)[0]
        return ids + self._prompt_ids(sample, bool(ids))

    def turn(self, sample: Sample) -> tuple[list[int], list[int]]:
        """ids and targets (the next token at each position, -100 where it is not learned)."""
        ids: list[int] = []
        wanted: list[int] = []
        for turn in (*sample.before, sample):
            prompt = self._prompt_ids(turn, bool(ids))
            answer, learned = self._answer(turn)
            ids += prompt + answer
            wanted += [-100] * len(prompt)
            wanted += [t if keep else -100 for t, keep in zip(answer, learned, strict=True)]
        return ids, [*wanted[1:], -100]

    def _prompt_ids(self, sample: Sample, is_later: bool) -> list[int]:
        text = (NEXT_TURN_TEXT if is_later else TURN_TEXT).format(prompt=sample.prompt)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def _answer(self, sample: Sample) -> tuple[list[int], list[bool]]:
        """Tokens of the answer with the end token, and which are learned."""
        encoded = self.tokenizer(
            sample.answer, add_special_tokens=False, return_offsets_mapping=True
        )
        learned = [
            not any(a <= start < b for a, b in sample.given) for start, _ in encoded.offset_mapping
        ]
        return [*encoded.input_ids, self.tokenizer.eos_token_id], [*learned, True]

    def fill(
        self, objects: Sequence[SceneObject], rng: np.random.Generator, tokens: int
    ) -> list[Sample]:
        """Random turns about one image, as many as fit into `tokens`."""
        samples: list[Sample] = []
        used = 0
        while True:
            sample = draw(objects, rng)
            used += len(self.turn(sample)[0])
            if used > tokens:
                return samples
            samples.append(sample)

    def pack(self, turns: Sequence[Sequence[Sample]], tokens: int | None = None) -> Batch:
        """One row an image; every turn sees the prefix and itself. `tokens` fixes the length."""
        p = len(self.prefix)
        rows = [[self.turn(s) for s in samples] for samples in turns]
        length = p + (tokens or max(sum(len(ids) for ids, _ in row) for row in rows))
        count = len(rows)
        ids = torch.full((count, length), int(self.tokenizer.pad_token_id))
        targets = torch.full((count, length), -100)
        positions = torch.zeros(count, length, dtype=torch.long)
        group = torch.full((count, length), -1)
        ids[:, :p] = torch.tensor(self.prefix)
        positions[:, :p] = torch.arange(p)
        group[:, :p] = 0
        for b, row in enumerate(rows):
            at = p
            for n, (turn_ids, turn_targets) in enumerate(row):
                end = at + len(turn_ids)
                ids[b, at:end] = torch.tensor(turn_ids)
                targets[b, at:end] = torch.tensor(turn_targets)
                positions[b, at:end] = torch.arange(p, p + len(turn_ids))
                group[b, at:end] = n + 1
                at = end
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        same = group[:, :, None] == group[:, None, :]
        mask = causal & (same | (group[:, None, :] == 0))
        return Batch(ids, targets, mask[:, None], positions)
