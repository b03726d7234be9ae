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

"""One round of a benchmark: commands of both sides and plain forwards, in turns in one process.

Ratios are those of one round, so that a machine that slows down slows both sides down.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.engine.baseline import Baseline
from benchmarks.engine.models import ANSWER, PHRASES, PROMPT, QUESTION
from benchmarks.engine.timing import Seconds, StageTimer
from flmm_ros.engine.grounder import Grounder

IMAGE_HW = (480, 640)
PHRASE_COUNTS = (1, 4, 8)


def picture(number: int) -> NDArray[np.uint8]:
    """Another image for every number."""
    return np.random.default_rng(number).integers(0, 256, (*IMAGE_HW, 3), dtype=np.uint8)


def measure_commands(grounder: Grounder, number: int) -> dict[str, Seconds]:
    """One round: commands of both kinds on new and on known images, ours and the baseline's, and
    the limit of each: what nobody can do without."""
    timer, baseline = StageTimer(grounder), Baseline(grounder)
    asked, shown = picture(2 * number), picture(2 * number + 1)
    found = {}

    def ours() -> None:
        for name in ("question", "question again"):
            scene = grounder.open(asked)
            found[name] = timer.timed(partial(scene.ask, QUESTION, on_stage=timer.on_stage))
        scene = grounder.open(shown)
        names = ["1 phrase", *(f"{n} phrases again" for n in PHRASE_COUNTS)]
        for name, count in zip(names, (1, *PHRASE_COUNTS), strict=True):
            found[name] = timer.timed(
                partial(scene.ground, PHRASES[:count], on_stage=timer.on_stage)
            )

    def theirs() -> None:
        for name, ask in (
            ("one pass", baseline.ask_in_one_pass),
            ("two passes", baseline.ask_in_two_passes),
        ):
            found[f"baseline question, {name}"] = timer.timed(partial(ask, asked, QUESTION))
        for count in (PHRASE_COUNTS[0], PHRASE_COUNTS[-1]):
            found[f"baseline {count} phrase{'s' * (count > 1)}"] = timer.timed(
                partial(baseline.ground, shown, PHRASES[:count])
            )

    for run in (ours, theirs) if number % 2 else (theirs, ours):  # nobody always comes first
        run()
    question = (*grounder.lmm.text().question(QUESTION).ids, *_answer_ids(grounder))
    phrase = grounder.lmm.text().reading(PROMPT, PHRASES[0], [(0, len(PHRASES[0]))]).ids
    for name, image, ids in (("question", asked, question), ("1 phrase", shown, phrase)):
        found[f"limit {name}"] = timer.timed(partial(_run_limit, grounder, image, ids))
    return found


@torch.inference_mode()
def _run_limit(grounder: Grounder, image: NDArray[np.uint8], suffix_ids: tuple[int, ...]) -> None:
    """The least that a command takes: one plain forward of its tokens and SAM's encoder."""
    _forward(grounder, image, suffix_ids, "sdpa")
    grounder.heads.see(image)


def _answer_ids(grounder: Grounder) -> tuple[int, ...]:
    tokenizer = grounder.lmm.text().tokenizer
    return tuple(tokenizer(ANSWER, add_special_tokens=False).input_ids)


@torch.inference_mode()
def measure_forwards(grounder: Grounder) -> dict[str, Seconds]:
    """One round: the same image and text forwarded plainly, with recorded rows, and with all
    attention kept."""
    timer, lmm = StageTimer(grounder), grounder.lmm
    image, suffix = picture(0), lmm.text().reading(PROMPT, PHRASES[0], [(0, len(PHRASES[0]))])
    prefix = lmm.text().prefix()

    def record() -> None:
        pixels = {name: value.to(lmm.device) for name, value in lmm.prepare(image).items()}
        lmm.read_batch(pixels, prefix, [suffix.ids], [suffix.spans], [IMAGE_HW])

    def forward(attention: str, **wanted: bool) -> None:
        _forward(grounder, image, suffix.ids, attention, output_hidden_states=True, **wanted)

    return {
        "plain SDPA": timer.timed(partial(forward, "sdpa")),
        "recording rows": timer.timed(record),
        "eager, all kept": timer.timed(partial(forward, "eager", output_attentions=True)),
    }


def _forward(
    grounder: Grounder,
    image: NDArray[np.uint8],
    suffix_ids: tuple[int, ...],
    attention: str,
    **wanted: bool,
) -> None:
    """Image and text through the language model, without its vocabulary head."""
    lmm = grounder.lmm
    pixels = {name: value.to(lmm.device) for name, value in lmm.prepare(image).items()}
    prefix = lmm.text().prefix()
    ids = torch.tensor([[*prefix[:-1], *lmm.image_ids(IMAGE_HW), *suffix_ids]], device=lmm.device)
    own = lmm.model.config.get_text_config()._attn_implementation
    lmm.model.set_attn_implementation({"text_config": attention})
    try:
        lmm.model.model(input_ids=ids, use_cache=False, **pixels, **wanted)
    finally:
        lmm.model.set_attn_implementation({"text_config": own})
