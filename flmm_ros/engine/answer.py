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

"""What a command gives: an answer, and the groundings of its phrases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray


class Intent(str, Enum):
    """What a command wants."""

    GROUND = "ground"  # "pick up the red mug": the command holds the phrase
    ANSWER_AND_GROUND = "answer_and_ground"  # "what can I drink from?": the answer does
    ANSWER = "answer"  # "how many balls are there?": text only
    # "don't touch the red mug": says what is left alone, points at nothing. Never asked for.
    PROHIBITION = "prohibition"


# What a command may be asked to be read as.
RequestedIntent = Literal["ground", "answer_and_ground", "answer"]
REQUESTED_INTENTS = tuple(Intent(value) for value in get_args(RequestedIntent))
# Why an answer with the intent PROHIBITION has no objects.
PROHIBITION_TEXT = (
    "expected something to point at or to answer, got a command that only says what not to do"
)


@dataclass(frozen=True)
class Phrase:
    """Words to ground, and where they stand.

    `text_span` is a half-open range of characters in the text the phrase was found in (the answer
    or the command), `token_span` a half-open range of the tokens that are read.
    """

    text: str
    text_span: tuple[int, int]
    token_span: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Grounding:
    """One phrase and the pixels it means.

    mask [H, W] bool, soft_mask [H, W] float32 in 0..1, heat [H, W] float32 in 0..1 (the attention
    itself, averaged over layers and heads, or over the chosen ones: why the mask is where it is).
    `score` in 0..1 is the predicted IoU where the head was trained for it, or, where that was
    calibrated, the probability that the IoU is above 0.5; below the threshold `is_present` is False
    and the mask is only the best guess. `text_span` are the characters of the
    phrase in the answer text. `is_ambiguous`: the phrase fits several things equally; `candidates`
    are these things, one Grounding each, and the mask is that of the best.
    """

    phrase: str
    mask: NDArray[np.bool_]
    soft_mask: NDArray[np.float32]
    heat: NDArray[np.float32]
    score: float
    box_xyxy_px: tuple[int, int, int, int]
    is_present: bool = True
    text_span: tuple[int, int] | None = None
    is_ambiguous: bool = False
    candidates: tuple[Grounding, ...] = ()

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise ValueError(
                f"Grounding.mask: expected bool [H, W], got {self.mask.dtype} {self.mask.shape}"
            )
        for name in ("soft_mask", "heat"):
            array = getattr(self, name)
            if array.shape != self.mask.shape or array.dtype != np.float32:
                raise ValueError(
                    f"Grounding.{name}: expected float32 {self.mask.shape}, "
                    f"got {array.dtype} {array.shape}"
                )
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"Grounding.score: expected 0..1, got {self.score}")


@dataclass(frozen=True)
class Answer:
    """The result of one command. An ambiguous phrase stands in `objects` with each of its
    candidates. `timings_ms` has one entry per stage that ran, and "total"."""

    text: str
    objects: tuple[Grounding, ...]
    intent: Intent
    timings_ms: Mapping[str, float] = field(default_factory=dict)
