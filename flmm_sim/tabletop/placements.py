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

"""What stands on the simulated table: colours, kinds, and where things are put.

`Placement` says what stands where; `draw_placements` draws some, `draw_crowd` many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flmm_sim.tabletop.textures import PATTERNS

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.62, 0.15),
    "blue": (0.10, 0.20, 0.85),
    "yellow": (0.93, 0.83, 0.10),
    "purple": (0.50, 0.10, 0.60),
    "orange": (0.98, 0.48, 0.05),
    "white": (0.95, 0.95, 0.95),
    "black": (0.08, 0.08, 0.08),
}
KINDS: tuple[str, ...] = ("cube", "ball", "cylinder", "mug", "duck", "ring", "bunny")
CROWD_KINDS: tuple[str, ...] = ("bear", "brick", "plank", "plate")  # only crowds have these
ALL_KINDS: tuple[str, ...] = (*KINDS, *CROWD_KINDS)
PLAIN_KINDS = frozenset(["bear", "brick"])  # their meshes say nothing of where a pattern goes
PATTERNED = 0.4  # share of a crowd's other things that have a pattern
GAP_M = 0.115  # least distance of two things, middle to middle
CROWD_GAP = 1.25  # least distance of two things of a crowd, in sums of their sizes: they may hide
# parts of each other


@dataclass(frozen=True)
class Placement:
    """One thing: what it is, its colour as drawn, and where it stands; metres of the full world."""

    kind: str
    color: str
    rgba: tuple[float, float, float, float]
    xy_m: tuple[float, float]
    size_m: float
    yaw_rad: float
    pattern: str | None = None  # light and dark over its colour, a name out of PATTERNS

    @property
    def name(self) -> str:
        """The words for it: "red mug"."""
        return f"{self.color} {self.kind}"


def draw_placements(
    rng: np.random.Generator, gap_m: float = GAP_M, most: int = 6
) -> list[Placement]:
    """2 to `most` things at least `gap_m` apart, every pair of colour and kind at most once."""
    wanted = int(rng.integers(2, most + 1))
    names = list(COLORS)
    placements: list[Placement] = []
    for _ in range(200):
        if len(placements) == wanted:
            break
        kind = KINDS[rng.integers(len(KINDS))]
        color = names[rng.integers(len(names))]
        xy = rng.uniform([-0.27, -0.19], [0.27, 0.21])
        if any(p.kind == kind and p.color == color for p in placements):
            continue
        if any(np.linalg.norm(xy - p.xy_m) < gap_m for p in placements):
            continue
        rgba = _tint(color, rng)
        placements.append(
            Placement(
                kind=kind,
                color=color,
                rgba=rgba,
                xy_m=(float(xy[0]), float(xy[1])),
                size_m=float(rng.uniform(0.038, 0.052)),
                yaw_rad=float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return placements


def draw_crowd(rng: np.random.Generator) -> list[Placement]:
    """4 to 10 things of all kinds close together, some patterned, some hidden in part; every pair
    of colour and kind at most once."""
    wanted = int(rng.integers(4, 11))
    names = list(COLORS)
    placements: list[Placement] = []
    for _ in range(400):
        if len(placements) == wanted:
            break
        # Often one more of a kind or a colour that is there: such things are distinguished by
        # the other word, or by their places.
        like = placements[int(rng.integers(len(placements)))] if placements else None
        choice = rng.random()
        kind = like.kind if like and choice < 0.25 else ALL_KINDS[rng.integers(len(ALL_KINDS))]
        color = like.color if like and choice > 0.8 else names[rng.integers(len(names))]
        xy, size_m = rng.uniform([-0.27, -0.19], [0.27, 0.21]), float(rng.uniform(0.028, 0.042))
        if any(p.kind == kind and p.color == color for p in placements):
            continue
        if any(np.linalg.norm(xy - p.xy_m) < CROWD_GAP * (size_m + p.size_m) for p in placements):
            continue
        rgba = _tint(color, rng)
        has_pattern = rng.random() < PATTERNED and kind not in PLAIN_KINDS
        placements.append(
            Placement(
                kind=kind,
                color=color,
                rgba=rgba,
                xy_m=(float(xy[0]), float(xy[1])),
                size_m=size_m,
                yaw_rad=float(rng.uniform(0, 2 * np.pi)),
                pattern=str(rng.choice(list(PATTERNS))) if has_pattern else None,
            )
        )
    return placements


def _tint(color: str, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A shade of a colour, RGBA: no two things are painted quite alike."""
    tint = np.clip(np.array(COLORS[color]) + rng.uniform(-0.06, 0.06, 3), 0, 1)
    return (float(tint[0]), float(tint[1]), float(tint[2]), 1.0)
