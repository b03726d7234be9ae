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

"""The embedded LMM: a real LlavaForConditionalGeneration, taught to speak from text alone.

Three things make a small language model find objects within minutes instead of sitting on a
plateau: the projector and word embeddings are first aligned, so that an image token scores its own
colour and kind words; keys start equal to queries, so that a word attends to tokens like it;
descriptions go from left to right.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from flmm_ros.engine.lmm.attention import RECORDER_KEYWORD, RowRecorder
from flmm_ros.engine.vision.conv_encoder import ConvVisionConfig
from flmm_sim.tabletop.tabletop import ALL_KINDS, COLORS, WIDTH_PX, SceneObject
from training.embedded.language.language import (
    FURTHER_KINDS,
    MAKERS,
    QUESTION_KINDS,
    draw,
)
from training.embedded.language.samples import TextSample
from training.embedded.language.turns import Batch, TurnPacker
from training.embedded.stages.batches import StagePlan, ahead
from training.embedded.stages.checkpoints import resume, save

log = logging.getLogger(__name__)
TURN_TOKENS = 254  # of turns behind one image in training; with the prefix 512 or so
LAYERS = 6
EVALUATED_EVERY = 1_000  # steps
TURNS_A_ROW = 4  # when answers are checked


def build_lmm(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlavaForConditionalGeneration:
    """The untrained model: convolutional vision encoder, a Llama of width 128."""
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=ConvVisionConfig(image_size=256, patch_size=16, hidden_size=128),
        text_config=LlamaConfig(
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=4,
            vocab_size=len(tokenizer),
            max_position_embeddings=1024,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=256,
    )
    return LlavaForConditionalGeneration(config)


@dataclass(frozen=True)
class FeatureSet:
    """Frozen vision features fp16 [B, I, D] and the objects of each image."""

    features: torch.Tensor
    objects: tuple[tuple[SceneObject, ...], ...]

    def __len__(self) -> int:
        return len(self.features)

    def first(self, count: int) -> FeatureSet:
        """The first `count` images."""
        return FeatureSet(self.features[:count], self.objects[:count])


def mirrored(objects: tuple[SceneObject, ...]) -> tuple[SceneObject, ...]:
    """The objects of the same scene seen in a mirror."""
    return tuple(
        SceneObject(
            o.kind,
            o.color,
            o.label,
            (-o.position_m[0], *o.position_m[1:]),
            (WIDTH_PX - 1 - o.center_px[0], o.center_px[1]),
            o.visible_px,
        )
        for o in objects
    )


def align(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    data: FeatureSet,
    kinds: torch.Tensor,
    colors: torch.Tensor,
    *,
    steps: int,
    seed: int = 1,
) -> None:
    """Projector and word embeddings: an image token scores its own colour and kind words highest.

    kinds, colors: int64 [B, I] as of `token_labels`. Then keys are set equal to queries.
    """
    rng = np.random.default_rng(seed)
    projector, embedding = model.model.multi_modal_projector, model.get_input_embeddings()
    device = embedding.weight.device
    kind_ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(ALL_KINDS)), device=device)
    color_ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(COLORS)), device=device)
    with torch.no_grad():
        embedding.weight.normal_(0, 0.3)
    optimizer = torch.optim.AdamW([*projector.parameters(), embedding.weight], 2e-3)
    for step in range(steps):
        index = torch.from_numpy(rng.integers(0, len(kinds), 48))
        tokens = projector(data.features[index].to(device).float())
        kind, color = kinds[index].to(device), colors[index].to(device)
        there = kind > 0
        words = torch.cat([kind_ids, color_ids])
        loss = (
            F.cross_entropy((tokens @ embedding.weight[kind_ids].T)[there], kind[there] - 1)
            + F.cross_entropy((tokens @ embedding.weight[color_ids].T)[there], color[there] - 1)
            + 0.05 * (tokens[~there] @ embedding.weight[words].T).relu().square().mean()
            + 1e-3 * tokens.square().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            log.info("align step %d/%d loss %.3f", step + 1, steps, loss.item())
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            attention = layer.self_attn
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.q_proj.weight.mul_(2)
            attention.k_proj.weight.mul_(2)


def forward(
    model: LlavaForConditionalGeneration,
    batch: Batch,
    features: torch.Tensor,
    recorder: RowRecorder | None = None,
    *,
    every_layer: bool = False,
) -> torch.Tensor:
    """Hidden states of packed turns over cached vision features [B, I, D].

    Returns the last [B, S, D], or those of every layer, [L, B, S, D]. A recorder then holds the
    attention rows.
    """
    device = model.device
    batch = batch.to(device)
    embeds = model.get_input_embeddings()(batch.ids)
    image = model.model.multi_modal_projector(features.to(device).float()).to(embeds.dtype)
    is_image = batch.ids == model.config.image_token_id
    embeds = embeds.masked_scatter(is_image[..., None], image)
    output = model.model.language_model(
        inputs_embeds=embeds,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
        output_hidden_states=every_layer,
        **({} if recorder is None else {RECORDER_KEYWORD: recorder}),
    )
    if every_layer:
        return torch.stack(output.hidden_states[1:])
    hidden: torch.Tensor = output.last_hidden_state
    return hidden


def train_lmm(
    model: LlavaForConditionalGeneration,
    packer: TurnPacker,
    data: FeatureSet,
    unseen: FeatureSet,
    checkpoint: Path,
    plan: StagePlan,
    evaluated: int,
) -> dict[str, float]:
    """Next-word training of projector and language model; the vision encoder is frozen. Resumable.

    evaluated: turns of every kind that the result is measured on.
    """
    parts = [model.model.multi_modal_projector, model.model.language_model, model.lm_head]
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, plan.peak_rate, weight_decay=0.05, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.peak_rate, total_steps=plan.steps, pct_start=0.06
    )
    first = resume(checkpoint, model, optimizer, schedule, plan.made_with)
    model.train()
    total = torch.zeros((), device=model.device)

    def drawn(step: int) -> tuple[torch.Tensor, Batch]:
        rng = np.random.default_rng(
            [plan.seed, step]
        )  # a resumed run draws what it would have drawn
        index = rng.integers(0, len(data), plan.images)
        turns = [packer.fill(data.objects[i], rng, TURN_TOKENS) for i in index]
        return torch.from_numpy(index), packer.packed(turns, TURN_TOKENS)

    for step, (index, batch) in ahead(drawn, range(first, plan.steps), plan.workers):
        hidden = forward(model, batch, data.features[index])
        learned, targets = batch.targets.flatten().ge(0).nonzero()[:, 0], batch.targets.flatten()
        said = model.lm_head(hidden.flatten(0, 1)[learned.to(model.device)])
        loss = F.cross_entropy(said, targets[learned].to(model.device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        total += loss.detach()
        if step % 50 == 49:
            log.info("lmm step %d/%d loss %.4f", step + 1, plan.steps, total.item() / 50)
            total.zero_()
        if step % EVALUATED_EVERY == EVALUATED_EVERY - 1:
            log.info("lmm unseen %s", answer_accuracy(model, packer, unseen, 60))
            save(checkpoint, model, optimizer, schedule, step + 1, plan.made_with)
    return answer_accuracy(model, packer, unseen, evaluated)


@torch.no_grad()
def answer_accuracy(
    model: LlavaForConditionalGeneration, packer: TurnPacker, data: FeatureSet, per_kind: int
) -> dict[str, float]:
    """Exact match by kind of turn. Every word right with the right words before it is the same as
    every word right in greedy decoding."""
    model.eval()
    found: dict[str, float] = {}
    for kind in (*QUESTION_KINDS, *FURTHER_KINDS, "statement"):
        rng = np.random.default_rng(77)
        right = count = 0
        for start in range(0, per_kind, 10):
            index = [(start + i) % len(data) for i in range(10)]
            turns = [
                [_draw_kind(kind, data.objects[i], rng) for _ in range(TURNS_A_ROW)] for i in index
            ]
            batch = packer.pack(turns)
            said = model.lm_head(forward(model, batch, data.features[index])).argmax(-1).cpu()
            wrong = (said != batch.targets) & (batch.targets >= 0)
            # turns of a row follow each other: a turn starts where positions fall back
            starts = torch.diff(batch.positions, dim=1, prepend=batch.positions[:, :1] - 1) < 0
            turn_of = starts.cumsum(1)
            for b in range(len(index)):
                for n in range(TURNS_A_ROW):
                    here = turn_of[b] == n
                    here[: len(packer.prefix)] = False
                    right += int(not wrong[b, here].any())
                    count += 1
        found[kind] = round(right / count, 3)
    found["questions"] = round(sum(found[k] for k in QUESTION_KINDS) / len(QUESTION_KINDS), 3)
    model.train()
    return found


def _draw_kind(kind: str, objects: tuple[SceneObject, ...], rng: np.random.Generator) -> TextSample:
    for _ in range(30):
        sample = MAKERS[kind][0](objects, rng)
        if sample is not None:
            return sample
    return draw(objects, rng)  # this scene has no such question
