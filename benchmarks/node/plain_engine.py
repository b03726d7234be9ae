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

"""An engine that does next to nothing, to measure what is around it.

It finds a rectangle in the middle of any picture, whose arrays are made once for each size of
picture; every answer ends with the milliseconds that it took.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.answer import Answer, Grounding, Intent
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.progress import Progress, ProgressCallback, Stage
from flmm_ros.engine.runtime.scene_cache import SceneMemory

_TOOK = re.compile(r" \[engine ([\d.]+) ms\]$")


def engine_ms(answer: str) -> float:
    """What an answer's text says of the engine's time."""
    found = _TOOK.search(answer)
    if found is None:
        raise ValueError(f"expected an answer of the plain engine, got {answer!r}")
    return float(found[1])


@lru_cache(maxsize=4)
def _found(phrase: str, size_hw: tuple[int, int]) -> Grounding:
    height, width = size_hw
    mask = np.zeros(size_hw, bool)
    box = (width // 3, height // 3, 2 * width // 3, 2 * height // 3)
    mask[box[1] : box[3], box[0] : box[2]] = True
    soft = mask.astype(np.float32)
    return Grounding(phrase, mask, soft, soft, 0.9, box, text_span=(0, 4))


class PlainScene:
    """One picture [H, W, 3], and a conversation about it."""

    def __init__(self, image: NDArray[np.uint8], opened_s: float) -> None:
        self.image = image
        self._size_hw, self._opened_s = (image.shape[0], image.shape[1]), opened_s

    def chat(self) -> PlainScene:
        """Every conversation is the same."""
        return self

    def say(
        self,
        command: str,
        intent: Intent | None = None,
        on_stage: ProgressCallback | None = None,
    ) -> Answer:
        """The rectangle in the middle, whatever is asked."""
        for stage in (Stage.ENCODE, Stage.READ, Stage.REFINE):
            if on_stage is not None:
                on_stage(Progress(stage))
        found = _found("the rectangle", self._size_hw)
        took_ms = 1e3 * (time.monotonic() - self._opened_s)
        text = f"here [engine {took_ms:.4f} ms]"
        return Answer(text, (found,), Intent.GROUND, {"read": took_ms, "total": took_ms})


class PlainGrounder:
    """The engine."""

    model_name, backend, score_threshold = "plain", "nothing", 0.5
    scene_memory = SceneMemory(0, 0, 0, 0, 0)

    def __init__(self, config: GrounderConfig) -> None:
        self.config = config

    def open(self, image: NDArray[np.uint8]) -> PlainScene:
        """RGB uint8 [H, W, 3] -> the scene to ask about."""
        return PlainScene(image, time.monotonic())

    def warm_up(self) -> None:
        """Nothing is cold."""

    def update(self, config: GrounderConfig) -> None:
        """Nothing depends on it."""

    def close(self) -> None:
        """Nothing to free."""
