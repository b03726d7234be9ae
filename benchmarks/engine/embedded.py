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

"""How long the embedded model takes: the first command on an image, and the next on the same one.

    python -m benchmarks.engine --embedded                # a minute or so, beside nothing else
    python -m benchmarks.engine --embedded --images 50 --threads 1

Simulated tabletop images of 320x240, each new to the model. Two commands that point and two
questions on each: every first one finds an image that nobody has looked at. Seconds are
wall-clock time, as a robot waits for them: run nothing else meanwhile. With --threads 1 they are
processor time, and hold on a busy machine too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.engine.timing import StageTimer
from flmm_ros.engine.answer import Intent
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX, Tabletop, TabletopScene

MODEL = "tabletop"
FIRST_SEED = 2_600_000  # neither trained nor evaluated on
GOALS_S = {"first": 0.5, "next": 0.15}  # in order of magnitude, on two CPU cores
STAGES = ("encode", "generate", "read", "decode", "see", "refine")
WARM_UP = 2  # images that are not counted: libraries set themselves up


@dataclass(frozen=True)
class TimedCommand:
    """One command: `kind` point or question, `turn` first or next on its image, seconds in all and
    of each stage."""

    kind: str
    turn: str
    seconds: float
    stages_s: Mapping[str, float]


def commands_of(scene: TabletopScene) -> dict[str, tuple[str, str]]:
    """Two commands of each kind that this scene can answer."""
    first, other = scene.objects[0], scene.objects[-1]
    return {
        "point": (f"pick up the {first.name}", f"give me the {other.name}"),
        "question": (f"what color is the {first.kind}?", f"where is the {other.kind}?"),
    }


def measure(grounder: Grounder, scenes: Sequence[TabletopScene]) -> list[TimedCommand]:
    """Every command of every scene. The grounder must not remember images (scene_cache 0), so that
    the first command of each kind finds a new one."""
    found, timer = [], StageTimer(grounder)
    for tabletop in scenes:
        for kind, commands in commands_of(tabletop).items():
            intent = Intent.GROUND if kind == "point" else Intent.ANSWER_AND_GROUND
            scene = grounder.open(tabletop.rgb)
            for turn, command in zip(GOALS_S, commands, strict=True):
                ask = partial(scene.ask, command, intent, on_stage=timer.on_stage)
                spent = timer.timed(ask)
                stages = {stage: spent.get(stage, 0.0) for stage in STAGES}
                found.append(TimedCommand(kind, turn, spent["total"], stages))
    return found


def run(
    images: int, threads: int, on_scene: Callable[[], None] = lambda: None
) -> dict[str, dict[str, Any]]:
    """Measures the embedded model on `images` scenes; see `summary`.

    on_scene: called after each scene.
    """
    config = GrounderConfig(model=MODEL, device="cpu", threads=threads, scene_cache=0)
    grounder = Grounder.from_config(config)
    took: list[TimedCommand] = []
    with Tabletop() as world:
        for number in range(-WARM_UP, images):
            once = measure(grounder, [world.render(FIRST_SEED + WARM_UP + number)])
            if number >= 0:
                took += once
                on_scene()
    grounder.close()
    return summary(took)


def summary(took: Sequence[TimedCommand]) -> dict[str, dict[str, Any]]:
    """For "point first" to "question next": how many, seconds (median, 90th percentile, most), the
    median seconds of each stage, the goal, and whether the median holds it."""
    found: dict[str, dict[str, Any]] = {}
    for kind in ("point", "question"):
        for turn, goal in GOALS_S.items():
            some = [t for t in took if (t.kind, t.turn) == (kind, turn)]
            seconds = [t.seconds for t in some]
            median = statistics.median(seconds)
            found[f"{kind} {turn}"] = {
                "commands": len(some),
                "median_s": median,
                "p90_s": float(np.percentile(seconds, 90)),
                "most_s": max(seconds),
                "stages_s": {s: statistics.median(t.stages_s[s] for t in some) for s in STAGES},
                "goal_s": goal,
                "holds": median <= goal,
                "raw": [asdict(t) for t in some],
            }
    return found


def table(content: Mapping[str, Any]) -> Table:
    """The summary for people; goals stand beside their numbers."""
    machine = ", ".join(f"{key} {value}" for key, value in content["machine"].items())
    threads = content["settings"]["threads"]
    title = f"embedded model, {WIDTH_PX}x{HEIGHT_PX}, {threads} CPU threads; {machine}"
    made = Table("command", "median", "90 %", "most", *STAGES, title=title, title_justify="left")
    for name, row in content["embedded"].items():
        kind, turn = name.split()
        mark = "holds" if row["holds"] else "FAILS"
        made.add_row(
            f"{kind}, {turn} on an image ({row['commands']})",
            f"{row['median_s']:.3f} s (<= {row['goal_s']:g} {mark})",
            f"{row['p90_s']:.3f}",
            f"{row['most_s']:.3f}",
            *(f"{1e3 * row['stages_s'][stage]:.0f} ms" for stage in STAGES),
        )
    return made
