"""Masks for the embedded model: trains its heads while the language model stays frozen.

First every image is read once: the attention maps and hidden states of phrases, in the contexts
they will be read in later (phrases to ground, and phrases inside answers), go to disk as fp16. Then
the U-Net and the SAM-style refiner train on them together, with the paper's losses on coarse and
full-resolution logits, plus the predicted IoU. Absent phrases ask for an empty mask and a score of
0.

Does not know about: how the language model was trained.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from flmm_ros.engine.attention import ATTENTION_NAME, RowRecorder, merge_views
from flmm_ros.engine.framing import crop_to_image
from flmm_ros.engine.heads import Heads, HeadsConfig
from flmm_ros.engine.mask_refiner import ConvEncoderShape, RefinerShape
from flmm_ros.engine.types import View
from flmm_ros.tools.tabletop import HEIGHT_PX, WIDTH_PX, SceneObject
from training.losses import iou, mask_loss, score_loss
from training.tabletop.checkpoints import resume, save
from training.tabletop.language import DESCRIBE, MAKERS, reference
from training.tabletop.lmm import FeatureSet, forward
from training.tabletop.samples import Mention, Sample
from training.tabletop.scenes import SceneSet
from training.tabletop.turns import TurnPacker

log = logging.getLogger(__name__)
IMAGES_A_STEP, PHRASES_AN_IMAGE = 6, 3
MAX_WORDS = 9  # tokens of the longest phrase
IN_CONTEXT = ("kind", "place", "use", "description", "where", "color")

HEADS = HeadsConfig(
    base_channels=16,
    refiner=RefinerShape(
        hidden=128,
        input_size=256,
        decoder_mlp=512,
        iou_hidden=128,
        encoder=ConvEncoderShape(channels=(24, 48, 96), blocks=(1, 1, 2)),
    ),
)


@dataclass(frozen=True)
class ReadingSet:
    """P phrases as the frozen LMM read them.

    maps fp16 [P, C, h, w]; states fp16 [P, MAX_WORDS, L, D]; lengths int [P]; image int [P], the
    scene; wanted uint8 [P], bit k set: the object with label k + 1 is meant.
    """

    maps: torch.Tensor
    states: torch.Tensor
    lengths: torch.Tensor
    image: torch.Tensor
    wanted: torch.Tensor


def ground_sample(objects: tuple[SceneObject, ...], rng: np.random.Generator) -> Sample:
    """Phrases to ground, joined as the engine joins them."""
    text, mentions = "", []
    for _ in range(int(rng.integers(1, 5))):
        words, labels = reference(objects, rng, absent=0.4)
        text += " " if text else ""
        mentions.append(Mention((len(text), len(text) + len(words)), labels))
        text += words + "."
    return Sample("ground", DESCRIBE, text, (), tuple(mentions))


def turns_of(objects: tuple[SceneObject, ...], rng: np.random.Generator) -> list[Sample]:
    """What one image is read with: two rounds of phrases, two answers."""
    turns = [ground_sample(objects, rng), ground_sample(objects, rng)]
    for _ in range(2):
        kind = IN_CONTEXT[rng.integers(len(IN_CONTEXT))]
        sample = MAKERS[kind][0](objects, rng)
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
) -> ReadingSet:
    """Reads every image of `data` once."""
    model.eval()
    model.set_attn_implementation({"text_config": ATTENTION_NAME})
    first_image = packer.prefix.index(model.config.image_token_id)
    columns = torch.arange(first_image, first_image + grid * grid)
    view = View("image", torch.arange(grid * grid), (grid, grid), (0, 0, 1, 1))
    parts: list[ReadingSet] = []
    for start in range(0, len(data), 8):
        index = list(range(start, min(start + 8, len(data))))
        rngs = [np.random.default_rng([seed, i]) for i in index]
        turns = [turns_of(data.objects[i], r) for i, r in zip(index, rngs, strict=True)]
        batch = packer.pack(turns)
        spans = [_spans(packer, row) for row in turns]
        longest = max(sum(stop - begin for begin, stop, _ in row) for row in spans)
        rows = torch.full((len(index), longest), -1)
        for b, row in enumerate(spans):
            places = [p for begin, stop, _ in row for p in range(begin, stop)]
            rows[b, : len(places)] = torch.tensor(places)
        recorder = RowRecorder(rows, columns)
        states = forward(model, batch, data.features[index], recorder)  # [L, B, S, D]
        recorded = recorder.stacked()  # [B, L, A, R, I]
        for b, row in enumerate(spans):
            parts.append(_one_image(index[b], row, recorded[b], states[:, b], view))
        if start % 1000 == 0:
            log.info("reading %d/%d", start, len(data))
    return ReadingSet(
        *(
            torch.cat([getattr(p, name) for p in parts])
            for name in ("maps", "states", "lengths", "image", "wanted")
        )
    )


def _spans(packer: TurnPacker, turns: list[Sample]) -> list[tuple[int, int, tuple[int, ...]]]:
    """Positions (begin, stop) in the packed row of every mention, and the labels it means."""
    spans = []
    at = len(packer.prefix)
    for sample in turns:
        lead = packer.lead_ids(sample)
        offsets = packer.tokenizer(
            sample.answer, add_special_tokens=False, return_offsets_mapping=True
        ).offset_mapping
        for mention in sample.mentions:
            begin, stop = mention.text_span
            inside = [n for n, (a, b) in enumerate(offsets) if a < stop and b > begin]
            first = at + len(lead) + inside[0]
            spans.append((first, first + len(inside), mention.labels))
        at += len(packer.turn(sample)[0])
    return spans


def _one_image(
    image: int,
    spans: list[tuple[int, int, tuple[int, ...]]],
    rows: torch.Tensor,
    states: torch.Tensor,
    view: View,
) -> ReadingSet:
    """The phrases of one image: rows [L, A, R, I], states [L, S, D]."""
    local, at = [], 0
    for begin, stop, _ in spans:
        local.append((at, at + stop - begin))
        at += stop - begin
    words = torch.zeros(len(spans), MAX_WORDS, states.shape[0], states.shape[2])
    for n, (begin, stop, _) in enumerate(spans):
        words[n, : stop - begin] = states[:, begin:stop].transpose(0, 1)
    return ReadingSet(
        maps=merge_views(rows, local, [view], "mean")[0].half(),
        states=words.half(),
        lengths=torch.tensor([stop - begin for begin, stop, _ in spans]),
        image=torch.full((len(spans),), image),
        wanted=torch.tensor(
            [sum(1 << (k - 1) for k in labels) for _, _, labels in spans], dtype=torch.uint8
        ),
    )


def targets_of(scenes: SceneSet, image: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Masks float32 [N, H, W] of the objects each phrase means; all zero where none."""
    labels = torch.from_numpy(scenes.labels[image.numpy()]).long()
    bit = torch.where(labels > 0, 1 << (labels - 1).clamp(min=0), 0)
    return ((bit & wanted[:, None, None].long()) > 0).float()


@dataclass(frozen=True)
class PhraseSet:
    """Phrases that were read, and the scenes they were read in."""

    readings: ReadingSet
    scenes: SceneSet


def train_heads(
    heads: Heads,
    train: PhraseSet,
    unseen: PhraseSet,
    checkpoint: Path,
    *,
    view: View,
    steps: int,
    seed: int,
    peak_rate: float,
) -> dict[str, float]:
    """Trains `heads` in place on phrases read before. Resumable.

    view: where the LMM's grid lies on the image. seed: of the draws.
    """
    readings, scenes = train.readings, train.scenes
    of_image = _by_image(readings.image, len(scenes))
    optimizer = torch.optim.AdamW(heads.parameters(), peak_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak_rate, total_steps=steps, pct_start=0.05
    )
    first = resume(checkpoint, heads, optimizer, schedule)
    heads.train()
    sums = np.zeros(3)
    for step in range(first, steps):
        rng = np.random.default_rng([seed, step])
        chosen = rng.integers(0, len(scenes), IMAGES_A_STEP)
        picked = np.concatenate([rng.choice(of_image[i], PHRASES_AN_IMAGE) for i in chosen])
        index = torch.from_numpy(picked)
        truth = targets_of(scenes, readings.image[index], readings.wanted[index])
        pixels = heads.mask_refiner.pixels(list(scenes.rgb[chosen]))
        features = heads.mask_refiner.image_encoder(pixels)
        features = features.repeat_interleave(PHRASES_AN_IMAGE, dim=0)
        coarse, logits, score = run(heads, readings, index, features, view)
        small = F.adaptive_avg_pool2d(truth[:, None], (coarse.shape[1], coarse.shape[2]))[:, 0]
        losses = (
            mask_loss(coarse, small),
            mask_loss(logits, truth),
            score_loss(score, logits, truth),
        )
        optimizer.zero_grad()
        sum(losses).backward()  # type: ignore[union-attr]
        nn.utils.clip_grad_norm_(heads.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        sums += [loss.item() for loss in losses]
        if step % 50 == 49:
            log.info("heads step %d/%d coarse, refined, score %s", step + 1, steps, sums / 50)
            sums[:] = 0
        if step % 350 == 349:
            log.info("heads unseen %s", measure(heads, unseen, view, 200))
            save(checkpoint, heads, optimizer, schedule, step + 1)
            heads.train()
    return measure(heads, unseen, view, len(unseen.scenes))


def run(
    heads: Heads,
    readings: ReadingSet,
    index: torch.Tensor,
    features: torch.Tensor,
    view: View,
    image_hw: tuple[int, int] = (HEIGHT_PX, WIDTH_PX),
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coarse logits (un-padded), logits at image size and predicted IoU of the phrases `index`."""
    coarse = crop_to_image(heads.decode(readings.maps[index].float()), view, image_hw)
    cues = [
        heads.weighted_states(
            readings.states[i, : int(readings.lengths[i])].float().transpose(0, 1)
        )
        for i in index.tolist()
    ]
    refined = heads.refine(features, coarse, cues, image_hw)
    return coarse, heads.mask_refiner.upscale(refined.low_logits, image_hw), refined.iou


@torch.no_grad()
def measure(heads: Heads, data: PhraseSet, view: View, count: int) -> dict[str, float]:
    """cIoU, P@0.5 and presence on unseen phrases."""
    heads.eval()
    readings, scenes = data.readings, data.scenes
    overlap = union = hits = there = 0.0
    right = 0
    count = min(count, len(readings.lengths))
    for start in range(0, count, 20):
        index = torch.arange(start, min(start + 20, count))
        images = readings.image[index].numpy()
        pixels = heads.mask_refiner.pixels(list(scenes.rgb[images]))
        truth = targets_of(scenes, readings.image[index], readings.wanted[index])
        coarse, logits, score = run(
            heads, readings, index, heads.mask_refiner.image_encoder(pixels), view
        )
        present = readings.wanted[index] > 0
        mask, target = logits > 0, truth > 0.5
        overlap += float((mask & target)[present].sum())
        union += float((mask | target)[present].sum())
        hits += float((iou(mask, target)[present] > 0.5).sum())
        there += float(present.sum())
        right += int(((score > 0.5) == present).sum())
    return {"cIoU": overlap / union, "P@0.5": hits / there, "presence": right / count}


def _by_image(image: torch.Tensor, count: int) -> list[np.ndarray]:
    order = np.argsort(image.numpy(), kind="stable")
    return np.split(order, np.searchsorted(image.numpy()[order], np.arange(1, count)))
