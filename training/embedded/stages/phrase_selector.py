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

"""The phrase selector of the embedded model: which words of an answer name something on the table.

Answers of every kind are read by the frozen language model; a token is groundable where it belongs
to a phrase that means an object of the scene. "the left", numbers, pronouns and things that are not
there are not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from flmm_ros.engine.heads.phrase_selector import THRESHOLD, PhraseSelector, selected_spans
from flmm_sim.tabletop.tabletop import SceneObject
from training.embedded.language.language import draw
from training.embedded.language.samples import TextSample
from training.embedded.language.turns import TurnPacker
from training.embedded.stages.lmm import FeatureSet, forward
from training.evaluation.metrics import SpanMetrics

log = logging.getLogger(__name__)
TURNS_AN_IMAGE = 8
BATCH = 2048  # tokens
RATE = 1e-2


@dataclass(frozen=True)
class TokenSet:
    """P tokens of answers, one answer after another: states fp16 [P, L, D], whether each names an
    object, bool [P], and the number of tokens of every answer."""

    states: torch.Tensor
    groundable: torch.Tensor
    lengths: tuple[int, ...]


def labels_of(packer: TurnPacker, sample: TextSample) -> list[bool]:
    """For each token of the answer whether it belongs to a phrase that means an object."""
    offsets = packer.offsets(sample.answer)
    spans = [m.text_span for m in sample.mentions if m.labels]
    return [any(a < stop and b > start for start, stop in spans) for a, b in offsets]


@torch.no_grad()
def read_answers(
    model: LlavaForConditionalGeneration, packer: TurnPacker, data: FeatureSet, seed: int
) -> TokenSet:
    """Random turns about every image of `data`, read once."""
    model.eval()
    states: list[torch.Tensor] = []
    labels: list[bool] = []
    lengths: list[int] = []
    for start in range(0, len(data), 8):
        index = list(range(start, min(start + 8, len(data))))
        rngs = [np.random.default_rng([seed, i]) for i in index]
        turns = [
            [_answer(data.objects[i], rng) for _ in range(TURNS_AN_IMAGE)]
            for i, rng in zip(index, rngs, strict=True)
        ]
        features = data.features[index]
        hidden = forward(model, packer.pack(turns), features, every_layer=True)  # [L, B, S, D]
        for b, row in enumerate(turns):
            at = len(packer.prefix)
            for sample in row:
                first, found = at + len(packer.lead_ids(sample)), labels_of(packer, sample)
                states.append(hidden[:, b, first : first + len(found)].transpose(0, 1).half().cpu())
                labels += found
                lengths.append(len(found))
                at += len(packer.turn(sample)[0])
    return TokenSet(torch.cat(states), torch.tensor(labels), tuple(lengths))


def _answer(objects: Sequence[SceneObject], rng: np.random.Generator) -> TextSample:
    """A turn; no statement, which is a text to learn reading from and nobody's answer."""
    while True:
        sample = draw(objects, rng)
        if sample.kind != "statement":
            return sample


def train_selector(
    selector: PhraseSelector, train: TokenSet, unseen: TokenSet, *, steps: int, seed: int
) -> dict[str, float]:
    """Trains in place with binary cross entropy; returns F1 on unseen answers."""
    optimizer = torch.optim.AdamW(selector.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    device = next(selector.parameters()).device
    states, groundable = train.states.to(device), train.groundable.to(device)
    for _ in range(steps):
        index = torch.randint(len(groundable), (BATCH,), generator=generator).to(device)
        logits = selector(states[index].transpose(0, 1).float())
        loss = F.binary_cross_entropy_with_logits(logits, groundable[index].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return measure(selector, unseen)


@torch.no_grad()
def measure(selector: PhraseSelector, data: TokenSet) -> dict[str, float]:
    """F1 by token and by whole phrase, at the threshold the engine uses."""
    found = SpanMetrics()
    device = next(selector.parameters()).device
    probabilities = selector(data.states.to(device).transpose(0, 1).float()).sigmoid().cpu()
    answers = (part.split(data.lengths) for part in (probabilities, data.groundable.float()))
    for said, true in zip(*answers, strict=True):
        found.add(selected_spans(said, THRESHOLD), selected_spans(true))
    log.info("selector unseen %s", found.summary())
    return found.summary()
