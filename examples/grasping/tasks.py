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

"""What the robot is told in a `GraspWorld`, and whether physics says that it was done.

Five kinds of task: pick a thing up, put one beside another, give something by its use, leave alone
what is not there, ask back where two things fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_sim.arm.world import GraspWorld, Thing
from flmm_sim.tabletop.tabletop import COLORS, KINDS

LIFTED_M = 0.10  # a thing that hangs this much higher is picked up
LEFT_ALONE_M = 0.01  # what moved less than this was left alone
PLACE_M = 0.03  # how far from its place a thing may be put
BESIDE_M = 0.10  # "beside" means this far, middle to middle
FREE_M = 0.08  # nothing this near to the place
TABLE_M = (0.17, 0.14)  # half a place's way across and along the table
WORDS = {"to the left of": (-1, 0), "to the right of": (1, 0), "behind": (0, -1)}  # right, near

PICK, PUT, USE, ABSENT, WHICH = "pick up", "put beside", "by use", "absent", "which one"
KINDS_OF_TASK = (PICK, PUT, USE, ABSENT, WHICH)
Places = Mapping[str, NDArray[np.float64]]  # name of a thing -> where its middle is [3], metres


@dataclass(frozen=True)
class GraspTask:
    """One instruction in one world.

    wanted: the things that it may mean, of which one must be moved; empty: nothing may be.
    place_m: where it must end on the table [2]; None: it must hang in the gripper.
    """

    kind: str
    seed: int
    instruction: str
    wanted: tuple[str, ...] = ()
    place_m: tuple[float, float] | None = None


def task_in(world: GraspWorld, kind: str) -> GraspTask | None:
    """A task of this kind, the same for the same world; None where the world has none."""
    rng = np.random.default_rng([world.seed, 7])
    names = [thing.name for thing in world.things]
    name, absent = str(rng.choice(names)), str(rng.choice(absent_names(world)))
    if kind == PICK:
        return GraspTask(kind, world.seed, f"pick up the {name}", (name,))
    if kind == PUT:
        return _put_task(world)
    if kind == USE:
        mugs = tuple(name for name in names if name.endswith(" mug"))
        return (
            GraspTask(kind, world.seed, "give me something to drink from", mugs) if mugs else None
        )
    if kind == ABSENT:
        return GraspTask(kind, world.seed, f"pick up the {absent}")
    counts = Counter(name.split()[-1] for name in names)
    several = [noun for noun, count in counts.items() if count > 1]
    return GraspTask(kind, world.seed, f"pick up the {several[0]}") if several else None


def absent_names(world: GraspWorld) -> list[str]:
    """All that could lie in a world and does not: "red mug"."""
    return [f"{c} {k}" for c in COLORS for k in KINDS if world.find(f"{c} {k}") is None]


def _put_task(world: GraspWorld) -> GraspTask | None:
    """The first thing that can be put somewhere free beside another."""
    for thing in world.things:
        for other in world.things:
            for words, side in WORDS.items():
                place_m = beside_m(world, other, side)
                if thing is not other and _is_free(world, place_m):
                    instruction = f"put the {thing.name} {words} the {other.name}"
                    place = (float(place_m[0]), float(place_m[1]))
                    return GraspTask(PUT, world.seed, instruction, (thing.name,), place)
    return None


def beside_m(world: GraspWorld, other: Thing, side: tuple[int, int]) -> NDArray[np.float64]:
    """The place [2] beside a thing; left and behind are as the camera sees them."""
    R = world.T_world_camera[:3, :3]
    along = side[0] * R[:2, 0] + side[1] * R[:2, 1]
    return np.asarray(world.middle_m(other)[:2] + BESIDE_M * along / np.linalg.norm(along))


def _is_free(world: GraspWorld, place_m: NDArray[np.float64]) -> bool:
    """Nothing lies there, not even what is to be put there: it would be left alone, rightly."""
    middles = [world.middle_m(thing)[:2] for thing in world.things]
    is_clear = all(np.linalg.norm(middle - place_m) > FREE_M for middle in middles)
    return bool(is_clear and (np.abs(place_m) < TABLE_M).all())


def judge_task(task: GraspTask, before: Places, after: Places) -> str:
    """What is wrong with how the things stand afterwards; empty where the task was done."""
    moved = [n for n in before if np.linalg.norm(after[n] - before[n]) > LEFT_ALONE_M]
    if not task.wanted:
        return f"moved the {moved[0]}" if moved else ""
    done = [name for name in moved if name in task.wanted]
    if not done:
        return f"moved the {moved[0]} instead" if moved else "moved nothing"
    name = done[0]
    if task.place_m is None:
        rise_m = float(after[name][2] - before[name][2])
        return "" if rise_m >= LIFTED_M else f"the {name} hangs {100 * rise_m:.0f} cm higher"
    off_m = float(np.linalg.norm(after[name][:2] - task.place_m))
    if off_m > PLACE_M:
        return f"the {name} lies {100 * off_m:.0f} cm from its place"
    is_down = abs(after[name][2] - before[name][2]) < PLACE_M
    return "" if is_down else f"the {name} does not stand on the table"
