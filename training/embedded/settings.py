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

"""Settings of a training run of the embedded model: steps, batch sizes and rates of every stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.embedded.stages.batches import StagePlan

STAGES = ("scenes", "tower", "lmm", "sight", "readings", "heads", "export")
SMOKE: dict[str, Any] = {
    "scenes": 50, "unseen": 40, "tower_steps": 2, "tower_images": 8, "align_steps": 5,
    "lmm_steps": 2, "lmm_images": 4, "sight_steps": 2, "sight_images": 4, "read_scenes": 10,
    "heads_steps": 2, "heads_images": 3, "selector_scenes": 10, "selector_steps": 3,
}  # fmt: skip


@dataclass(frozen=True)
class EmbeddedSettings:
    """Where a run works, how long each stage is, how many images a step has.

    scenes: seeds, each with a plain and a crowded scene. unseen, read_scenes, selector_scenes:
    scenes. heads_start: what to go on from instead of random weights.
    """

    out: Path
    seed: int = 0
    scenes: int = 8_000
    unseen: int = 500
    tower_steps: int = 1_500
    tower_images: int = 64
    tower_rate: float = 3e-3
    align_steps: int = 500
    lmm_steps: int = 7_000
    lmm_images: int = 64
    lmm_rate: float = 1.5e-3
    sight_steps: int = 2_500
    sight_images: int = 32
    sight_rate: float = 3e-3
    read_scenes: int = 8_000
    heads_steps: int = 2_500
    heads_images: int = 16
    heads_rate: float = 1.5e-3
    heads_start: Path | None = None
    selector_scenes: int = 1_000
    selector_steps: int = 1_500
    device: str = "cpu"
    workers: int = 0

    def plan(self, stage: str) -> StagePlan:
        """How a stage trains; each has a seed of its own."""
        return StagePlan(
            steps=getattr(self, f"{stage}_steps"),
            images=getattr(self, f"{stage}_images"),
            peak_rate=getattr(self, f"{stage}_rate"),
            seed=10 * self.seed + STAGES.index(stage),
            workers=self.workers,
        )
