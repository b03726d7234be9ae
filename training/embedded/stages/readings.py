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

"""What the frozen LMM makes of phrases, read once and kept: attention maps and hidden states.

Phrases are read as the engine reads them later: each alone, as the answer to the model's prompt, or
inside a whole answer. What a phrase means is a set of objects: one, none, or, for "the cubes" and
for "the cube" among several, all of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlavaForConditionalGeneration

from flmm_ros.engine.lmm.attention import ATTENTION_NAME, RowRecorder, merge_views
from flmm_ros.engine.lmm.view import View
from flmm_sim.tabletop.tabletop import SceneObject
from training.embedded.language.language import MAKERS
from training.embedded.language.neighbours import related_phrase
from training.embedded.language.references import several, single
from training.embedded.language.samples import Mention, TextSample
from training.embedded.language.spelling import misspelt
from training.embedded.language.statements import DESCRIBE, TYPOS_READ
from training.embedded.language.superlatives import superlative
from training.embedded.language.turns import Batch, TurnPacker
from training.embedded.stages.batches import ahead
from training.embedded.stages.lmm import FeatureSet, forward

log = logging.getLogger(__name__)
MAX_WORDS = 16  # tokens of a phrase; longer ones, of words in many pieces, are left out
IMAGES = 16  # read at once
ABSENT = 0.4  # share of the others that name nothing in the scene
COMPARED = 0.2  # share of phrases like "the mug left of the blue cube" and "the biggest ball"
SEVERAL = 0.2  # share of phrases that mean all of a kind or a colour
PHRASES_ALONE, ANSWERS = 5, 2  # an image is read with
IN_CONTEXT = (
    "kind", "place", "use", "description", "where", "color", "beside", "dialogue",
)  # fmt: skip


@dataclass(frozen=True)
class ReadingSet:
    """P phrases as the frozen LMM read them.

    maps fp16 [P, C, h, w]; states fp16 [P, MAX_WORDS, L, D]; lengths int [P]; image int [P], the
    scene; wanted int32 [P], bit k set: the object with label k + 1 is meant.
    """

    maps: torch.Tensor
    states: torch.Tensor
    lengths: torch.Tensor
    image: torch.Tensor
    wanted: torch.Tensor

    def to(self, device: torch.device) -> ReadingSet:
        """The same on a device."""
        return ReadingSet(*(part.to(device) for part in vars(self).values()))


def phrase_alone(objects: tuple[SceneObject, ...], rng: np.random.Generator) -> TextSample:
    """A phrase as the whole answer to the model's prompt."""
    choice = rng.random()
    compared = None
    if choice < COMPARED:
        compared = (related_phrase if rng.random() < 0.6 else superlative)(objects, rng)
    if compared is not None:
        words, labels = compared
    elif choice < COMPARED + SEVERAL:
        words, labels = several(objects, rng, by_kind=0.85)
    else:
        words, labels = single(objects, rng, ABSENT)
    words = misspelt(words, rng, TYPOS_READ)
    return TextSample("phrase", DESCRIBE, words, (), (Mention((0, len(words)), labels),))


def turns_of(objects: tuple[SceneObject, ...], rng: np.random.Generator) -> list[TextSample]:
    """What one image is read with: phrases alone, and phrases inside answers."""
    turns = [phrase_alone(objects, rng) for _ in range(PHRASES_ALONE)]
    for _ in range(ANSWERS):
        sample = MAKERS[IN_CONTEXT[rng.integers(len(IN_CONTEXT))]][0](objects, rng)
        if sample is not None and any(m.labels for m in sample.mentions):
            turns.append(sample)
    return turns


@torch.no_grad()
def read(
    model: LlavaForConditionalGeneration,
    packer: TurnPacker,
    data: FeatureSet,
    grid: int,
    seed: int,
    workers: int,
) -> ReadingSet:
    """Reads every image of `data` once."""
    model.eval()
    model.set_attn_implementation({"text_config": ATTENTION_NAME})
    first_image = packer.prefix.index(model.config.image_token_id)
    columns = torch.arange(first_image, first_image + grid * grid, device=model.device)
    view = View("image", torch.arange(grid * grid), (grid, grid), (0, 0, 1, 1))

    def packed(start: int) -> _PackedReadings:
        return _pack(packer, data, range(start, min(start + IMAGES, len(data))), seed)

    parts: list[ReadingSet] = []
    for start, few in ahead(packed, range(0, len(data), IMAGES), workers):
        recorder = RowRecorder(few.rows.to(model.device), columns)
        features = data.features[start : start + IMAGES]
        # [L, B, S, D]
        states = forward(model, few.batch, features, recorder, every_layer=True)
        recorded = recorder.stacked()  # [B, L, A, R, I]
        for b, spans in enumerate(few.spans):
            parts.append(_one_image(start + b, spans, recorded[b], states[:, b], view))
        if start % (64 * IMAGES) == 0:
            log.info("reading %d/%d", start, len(data))
    return ReadingSet(
        *(
            torch.cat([getattr(p, name) for p in parts])
            for name in ("maps", "states", "lengths", "image", "wanted")
        )
    )


Spans = list[tuple[int, int, tuple[int, ...]]]  # begin, stop in the packed row; labels


@dataclass(frozen=True)
class _PackedReadings:
    """Turns about a few images, the spans of their phrases, and the rows to record [B, R]."""

    batch: Batch
    spans: tuple[Spans, ...]
    rows: torch.Tensor


def _pack(packer: TurnPacker, data: FeatureSet, index: range, seed: int) -> _PackedReadings:
    turns = [turns_of(data.objects[i], np.random.default_rng([seed, i])) for i in index]
    spans = tuple(_spans(packer, row) for row in turns)
    longest = max(sum(stop - begin for begin, stop, _ in row) for row in spans)
    rows = torch.full((len(index), longest), -1)
    for b, row in enumerate(spans):
        places = [p for begin, stop, _ in row for p in range(begin, stop)]
        rows[b, : len(places)] = torch.tensor(places)
    return _PackedReadings(packer.pack(turns), spans, rows)


def _spans(packer: TurnPacker, turns: list[TextSample]) -> Spans:
    """Where every mention stands, and the labels it means."""
    spans = []
    at = len(packer.prefix)
    for sample in turns:
        lead = packer.lead_ids(sample)
        offsets = packer.offsets(sample.answer)
        for mention in sample.mentions:
            begin, stop = mention.text_span
            inside = [n for n, (a, b) in enumerate(offsets) if a < stop and b > begin]
            if len(inside) > MAX_WORDS:
                continue
            first = at + len(lead) + inside[0]
            spans.append((first, first + len(inside), mention.labels))
        at += len(packer.turn(sample)[0])
    return spans


def _one_image(
    image: int,
    spans: Spans,
    rows: torch.Tensor,
    states: torch.Tensor,
    view: View,
) -> ReadingSet:
    """The phrases of one image: rows [L, A, R, I], states [L, S, D]."""
    local, at = [], 0
    for begin, stop, _ in spans:
        local.append((at, at + stop - begin))
        at += stop - begin
    words = states.new_zeros(len(spans), MAX_WORDS, states.shape[0], states.shape[2])
    for n, (begin, stop, _) in enumerate(spans):
        words[n, : stop - begin] = states[:, begin:stop].transpose(0, 1)
    return ReadingSet(
        maps=merge_views(rows, local, [view], "mean")[0].half().cpu(),
        states=words.half().cpu(),
        lengths=torch.tensor([stop - begin for begin, stop, _ in spans]),
        image=torch.full((len(spans),), image),
        wanted=torch.tensor(
            [sum(1 << (k - 1) for k in labels) for _, _, labels in spans], dtype=torch.int32
        ),
    )
