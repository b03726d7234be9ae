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

"""The embedded model on a GPU: the CPU's masks and words, in float32 and in half precision."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from gpu_scenes import Photo, iou, require_same

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import Cancelled
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.progress import Progress, Stage

QUESTIONS = ("what is there?", "how many ducks are there?", "what can I drink from?")
# Two ways to add up the same numbers may put a pixel on the other side of an edge.
PIXELS, SCORE = 1e-4, 2e-3
Record = Callable[[str, object], None]


def summary(shared: list[float]) -> list[float]:
    """Median, mean and least."""
    return [round(float(each), 4) for each in (np.median(shared), np.mean(shared), min(shared))]


def test_float32_gives_the_masks_of_the_cpu(
    photos: list[Photo], on_cpu: Grounder, on_device: Grounder, record_property: Record
) -> None:
    shares, scores = [], []
    for photo in photos:
        expected = on_cpu.open(photo.rgb).ground(photo.phrases)
        ours = on_device.open(photo.rgb).ground(photo.phrases)
        shares += [float((a.mask != b.mask).mean()) for a, b in zip(ours, expected, strict=True)]
        scores += [abs(a.score - b.score) for a, b in zip(ours, expected, strict=True)]
        record_property(f"largest share of other pixels, {photo.seed}", max(shares))
        record_property(f"largest difference of scores, {photo.seed}", max(scores))
        require_same(ours, expected, pixels=PIXELS, score=SCORE)
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_allclose(a.soft_mask, b.soft_mask, atol=5e-3)
            np.testing.assert_allclose(a.heat, b.heat, atol=5e-3)


def test_every_part_is_where_it_was_asked_for(on_device: Grounder, device: str) -> None:
    assert on_device.lmm.device.type == device
    assert isinstance(on_device.heads, torch.nn.Module)
    parts = (*on_device.heads.parameters(), *on_device.heads.buffers())
    assert {p.device.type for p in parts} == {device}


def test_answers_are_the_same_words_and_point_at_the_same(
    photos: list[Photo], on_cpu: Grounder, on_device: Grounder
) -> None:
    for photo in photos:
        for question in QUESTIONS:
            expected = on_cpu.open(photo.rgb).ask(question)
            answer = on_device.open(photo.rgb).ask(question)
            assert answer.text == expected.text and answer.intent is expected.intent
            require_same(answer.objects, expected.objects, pixels=PIXELS, score=SCORE)


def test_a_conversation_goes_the_same_way(
    photos: list[Photo], on_cpu: Grounder, on_device: Grounder
) -> None:
    photo = photos[0]
    chats = [grounder.open(photo.rgb).chat() for grounder in (on_cpu, on_device)]
    for turn in (f"where is {photo.phrases[1]}?", "pick it up", "what is there?"):
        expected, answer = (chat.say(turn) for chat in chats)
        assert answer.text == expected.text
        require_same(answer.objects, expected.objects, pixels=PIXELS, score=SCORE)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_finds_the_same_things(
    photos: list[Photo], on_cpu: Grounder, device: str, dtype: str, record_property: Record
) -> None:
    half = Grounder.from_config(GrounderConfig("tabletop", device=device, dtype=dtype))
    assert half.lmm.model.dtype == getattr(torch, dtype)
    shared, present = [], []
    for photo in photos:
        expected = on_cpu.open(photo.rgb).ground(photo.phrases)
        ours = half.open(photo.rgb).ground(photo.phrases)
        shared += [iou(a.mask, b.mask) for a, b in zip(ours, expected, strict=True)]
        present += [a.is_present == b.is_present for a, b in zip(ours, expected, strict=True)]
    record_property("IoU with float32: median, mean, least", summary(shared))
    assert np.median(shared) > 0.985 and np.mean(shared) > 0.97, shared
    assert np.mean(present) >= 0.9, present


def test_what_auto_chooses_points_at_the_things(
    photos: list[Photo], device: str, record_property: Record
) -> None:
    grounder = Grounder.from_config(GrounderConfig("tabletop", device=device))
    half = device == "cuda"  # as the configuration says of dtype auto
    assert grounder.lmm.model.dtype == (torch.bfloat16 if half else torch.float32)
    shared = [
        iou(found.mask, truth)
        for photo in photos
        for found, truth in zip(
            grounder.open(photo.rgb).ground(photo.phrases), photo.masks.values(), strict=True
        )
    ]
    record_property("IoU with the truth: median, mean, least", summary(shared))
    assert np.median(shared) > 0.85, shared


def test_heads_that_were_never_trained_point_at_the_same(photos: list[Photo], device: str) -> None:
    cpu, gpu = (
        Grounder.from_config(GrounderConfig("tabletop_training_free", device=d, dtype="float32"))
        for d in ("cpu", device)
    )
    for photo in photos:
        expected, ours = (g.open(photo.rgb).ground(photo.phrases) for g in (cpu, gpu))
        require_same(ours, expected, pixels=10 * PIXELS, score=SCORE)


def test_a_command_takes_less_time_on_a_known_image(
    photos: list[Photo], device: str, record_property: Record
) -> None:
    grounder = Grounder.from_config(GrounderConfig("tabletop", device=device))
    grounder.open(photos[0].rgb).ground(photos[0].phrases[:1])  # what is set up on first use
    first, again = [], []
    for photo in photos[1:]:
        for spent in (first, again):
            start = time.perf_counter()
            grounder.open(photo.rgb).ground(photo.phrases[:1])
            spent.append(time.perf_counter() - start)
    found = [round(1e3 * float(np.median(spent)), 1) for spent in (first, again)]
    record_property("ms, 1 phrase: first command on an image, the next", found)
    assert found[1] < found[0]


def test_rounding_to_tf32_moves_no_mask(
    photos: list[Photo],
    on_cpu: Grounder,
    on_device: Grounder,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # what users run with
    fresh = Grounder(on_device.config, on_device.model, on_device.lmm, on_device.heads)
    shared = []
    for photo in photos:
        expected = on_cpu.open(photo.rgb).ground(photo.phrases)
        ours = fresh.open(photo.rgb).ground(photo.phrases)
        shared += [iou(a.mask, b.mask) for a, b in zip(ours, expected, strict=True)]
    record_property("IoU with float32: median, mean, least", summary(shared))
    assert min(shared) > 0.97, shared


def test_an_image_is_encoded_once_and_a_cancelled_command_leaves_it_whole(
    photos: list[Photo], on_device: Grounder
) -> None:
    grounder = Grounder(on_device.config, on_device.model, on_device.lmm, on_device.heads)
    scene, phrases = grounder.open(photos[1].rgb), photos[1].phrases
    first = scene.ground(phrases)

    def cancel(progress: Progress) -> None:
        if progress.stage is Stage.REFINE:
            raise Cancelled("by a test")

    with pytest.raises(Cancelled):
        scene.ask("what is there?", on_stage=cancel)
    stages: list[Stage] = []
    again = scene.ground(phrases, on_stage=lambda progress: stages.append(progress.stage))
    assert Stage.ENCODE not in stages and Stage.SEE not in stages
    require_same(again, first, pixels=5e-5, score=1e-4)
