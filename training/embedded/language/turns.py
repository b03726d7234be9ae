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

"""Turns about an image as tokens, many of them packed behind one image.

Several turns about one image share one forward: each sees the image and itself only (a block mask),
with the positions it would have alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from flmm_sim.tabletop.tabletop import SceneObject
from training.embedded.language.language import draw
from training.embedded.language.samples import TextSample

PREFIX_TEXT = "USER: <image>"  # the LLaVA-1.5 template, cut after the image
TURN_TEXT = "\n{prompt} ASSISTANT:"
NEXT_TURN_TEXT = "USER: {prompt} ASSISTANT:"  # after the end token of the answer before


@dataclass(frozen=True)
class Batch:
    """B images with several turns each. ids, targets [B, S] (-100: not learned), positions [B, S],
    group [B, S]: 0 for what all turns see, n for the n-th turn, -1 for nothing."""

    ids: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    group: torch.Tensor

    @property
    def mask(self) -> torch.Tensor:
        """Who may look at whom, bool [B, 1, S, S]: what comes before in the prefix or its turn."""
        length = self.group.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=self.group.device).tril()
        same = self.group[:, :, None] == self.group[:, None, :]
        return (causal & (same | (self.group[:, None, :] == 0)))[:, None]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(part.to(device, non_blocking=True) for part in vars(self).values()))


Tokens = tuple[list[int], list[int]]
"""A turn's ids and its targets: the next token at each position, -100 where it is not learned."""


class TurnPacker:
    """Tokenises turns and packs them behind one image prefix."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, image_tokens: int) -> None:
        self.tokenizer = tokenizer
        self._text = tokenizer.backend_tokenizer
        ids = tokenizer(PREFIX_TEXT).input_ids
        self.prefix = ids[:-1] + ids[-1:] * image_tokens

    def lead_ids(self, sample: TextSample) -> list[int]:
        """Tokens between the image and the answer: the turns before, and the prompt."""
        ids: list[int] = []
        for turn in sample.before:
            ids += self._prompt_ids(turn, bool(ids)) + self._answer(turn)[0]
        return ids + self._prompt_ids(sample, bool(ids))

    def turn(self, sample: TextSample) -> Tokens:
        """The conversation that ends with a sample, as tokens."""
        ids: list[int] = []
        wanted: list[int] = []
        for turn in (*sample.before, sample):
            prompt = self._prompt_ids(turn, bool(ids))
            answer, learned = self._answer(turn)
            ids += prompt + answer
            wanted += [-100] * len(prompt)
            wanted += [t if keep else -100 for t, keep in zip(answer, learned, strict=True)]
        return ids, [*wanted[1:], -100]

    def _prompt_ids(self, sample: TextSample, is_later: bool) -> list[int]:
        text = (NEXT_TURN_TEXT if is_later else TURN_TEXT).format(prompt=sample.prompt)
        ids: list[int] = self._text.encode(text, add_special_tokens=False).ids
        return ids

    def _answer(self, sample: TextSample) -> tuple[list[int], list[bool]]:
        """Tokens of the answer with the end token, and which are learned."""
        encoded = self._text.encode(sample.answer, add_special_tokens=False)
        learned = [not any(a <= start < b for a, b in sample.given) for start, _ in encoded.offsets]
        return [*encoded.ids, self.tokenizer.eos_token_id], [*learned, True]

    def offsets(self, answer: str) -> list[tuple[int, int]]:
        """The characters of every token of an answer."""
        found: list[tuple[int, int]] = self._text.encode(answer, add_special_tokens=False).offsets
        return found

    def fill(
        self, objects: Sequence[SceneObject], rng: np.random.Generator, tokens: int
    ) -> list[Tokens]:
        """Random turns about one image, as many as fit into `tokens`."""
        turns: list[Tokens] = []
        used = 0
        while True:
            turn = self.turn(draw(objects, rng))
            used += len(turn[0])
            if used > tokens:
                return turns
            turns.append(turn)

    def pack(self, turns: Sequence[Sequence[TextSample]]) -> Batch:
        """One row an image; every turn sees the prefix and itself."""
        return self.packed([[self.turn(s) for s in samples] for samples in turns])

    def packed(self, rows: Sequence[Sequence[Tokens]], tokens: int | None = None) -> Batch:
        """`pack` for turns that are tokens already. `tokens` fixes the length."""
        p = len(self.prefix)
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
        return Batch(ids, targets, positions, group)
