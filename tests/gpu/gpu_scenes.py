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

"""Six simulated scenes as files, and how masks are compared: the machine with the GPU may have no
simulator.

scenes/SEED.png is the picture, SEED_labels.png the number of the object at each pixel (0: table),
names.json the numbers of those objects whose names are unique in their picture.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks import mask

DEVICE = os.environ.get("FLMM_GPU_TESTS_DEVICE", "cuda")
ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent / "scenes"


@dataclass(frozen=True)
class Photo:
    """One scene: rgb uint8 [H, W, 3], and the true mask bool [H, W] of each name."""

    seed: int
    rgb: NDArray[np.uint8]
    masks: dict[str, NDArray[np.bool_]]

    @property
    def phrases(self) -> list[str]:
        """Every object as people would call it."""
        return [f"the {name}" for name in self.masks]


def load_photos() -> list[Photo]:
    """All scenes."""
    photos = []
    for seed, names in json.loads((FOLDER / "names.json").read_text()).items():
        rgb = np.array(Image.open(FOLDER / f"{seed}.png").convert("RGB"))
        labels = np.array(Image.open(FOLDER / f"{seed}_labels.png"))
        photos.append(Photo(int(seed), rgb, {n: labels == label for n, label in names.items()}))
    return photos


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Of two masks; 1 where both are empty."""
    return mask.iou(a, b, empty=1.0)


def require_same(
    ours: Sequence[Grounding], expected: Sequence[Grounding], *, pixels: float, score: float
) -> None:
    """Both found the same: at most this share of pixels differs, and scores by at most so much."""
    assert [g.phrase for g in ours] == [g.phrase for g in expected]
    for a, b in zip(ours, expected, strict=True):
        assert float((a.mask != b.mask).mean()) <= pixels, a.phrase
        assert abs(a.score - b.score) <= score, a.phrase
        assert a.is_present == b.is_present, (a.phrase, a.score, b.score)
        assert len(a.candidates) == len(b.candidates), a.phrase
