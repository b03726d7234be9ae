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

"""How often the robot does what it is told, and leaves alone what is not there.

    python -m examples.grasping.evaluation --seeds 2000000:2000050 --out out/grasp
    python -m examples.grasping.evaluation --kinds put --seeds 2000000:2000050 --out out/grasp

Every seed is one world, with one instruction of every kind in `--kinds`: by default "pick up the
<colour> <kind>" of a thing that lies there, and of one that does not. Physics judges. The
program of robot.py and the engine run in this process, without topics. A run that was interrupted
resumes; the results are in `attempts.jsonl`.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from examples.grasping.outcome import DONE, MISPLACED, OUTCOMES, GraspAttempt, attempt_task
from examples.grasping.pictures import TILE_HW, contact_sheet, save_film, tile_of
from examples.grasping.tasks import (
    ABSENT,
    KINDS_OF_TASK,
    PICK,
    PUT,
    USE,
    WHICH,
    GraspTask,
    task_in,
)
from flmm_ros.cli.command_line import run_command, with_repeated_option
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.masks.overlay import draw_overlay
from flmm_sim.arm.world import GraspWorld
from flmm_sim.tabletop.seeds import seed_range

FILM_EVERY = 24  # physics steps: ten pictures a second
SHEET_COLUMNS = 6
KINDS = {"pick": PICK, "put": PUT, "use": USE, "absent": ABSENT, "which": WHICH}
KindName = Enum("KindName", {name: name for name in KINDS})  # type: ignore[misc]
DEFAULT_KINDS = [KindName("pick"), KindName("absent")]
FILMED = (PICK, PUT, USE)  # in the others nothing moves
OFF_PERCENTILES = (50, 95, 100)
Record = dict[str, Any]
Summary = dict[str, Any]


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson's score interval); (0, 1) of nothing."""
    if not count:
        return 0.0, 1.0
    share, spread = right / count, z * z / count
    middle = share + spread / 2
    reach = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, (middle - reach) / (1 + spread)), min(1.0, (middle + reach) / (1 + spread))


class Evaluation:
    """Attempts over many seeds, kept in a folder: a line and a tile for each."""

    def __init__(self, grounder: Grounder, out: Path) -> None:
        self.grounder, self.out = grounder, out
        (out / "tiles").mkdir(parents=True, exist_ok=True)
        self._path = out / "attempts.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        self.records: list[Record] = [json.loads(line) for line in lines if line.endswith("}")]

    def run(self, seeds: Sequence[int], kinds: Sequence[str]) -> None:
        """Everything of these seeds that has not been tried yet."""
        known = {(r["seed"], r["kind"]) for r in self.records}
        for seed in track(seeds, description="worlds"):
            for kind in kinds:
                if (seed, kind) not in known:
                    self._try(seed, kind)

    def _try(self, seed: int, kind: str) -> None:
        """One task; nothing where the world has none of this kind."""
        film: list[NDArray[np.uint8]] = []
        steps = 0

        def watch(world: GraspWorld) -> None:
            nonlocal steps
            steps += 1
            if steps % FILM_EVERY == 0:
                film.append(world.onlooker_picture(TILE_HW))

        is_filmed = kind in FILMED and not (self.out / "grasp.gif").exists()
        with GraspWorld(seed, watch if is_filmed else None) as world:
            task = task_in(world, kind)
            if task is None:
                return
            tried = attempt_task(self.grounder, world, task)
            end = world.onlooker_picture(TILE_HW)
        if is_filmed and tried.outcome == DONE:
            save_film(film, self.out / "grasp.gif")
        seen = draw_overlay(tried.first.picture.rgb, tried.first.objects)
        problem = f"{tried.outcome}: {tried.problem}" if tried.problem else ""
        tile_of(task.instruction, problem, seen, end).save(self._tile(seed, kind))
        self._note(task, tried)

    def _note(self, task: GraspTask, tried: GraspAttempt) -> None:
        record: Record = {
            "seed": task.seed,
            "kind": task.kind,
            "instruction": task.instruction,
            "outcome": tried.outcome,
            "problem": tried.problem,
            "touched": tried.touched,
            "rise_m": round(tried.rise_m, 4),
            "off_m": None if tried.off_m is None else round(tried.off_m, 4),
            "said": tried.said,
        }
        self.records.append(record)
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")

    def _tile(self, seed: int, kind: str) -> Path:
        return self.out / "tiles" / f"{seed} {kind}.png"

    def summary(self, seeds: Sequence[int], kinds: Sequence[str]) -> Summary:
        """Success by kind of task, and how far from its place lies what was gripped and put."""
        parts = {kind: self._part(set(seeds), kind) for kind in kinds}
        return {"seeds": [min(seeds), max(seeds) + 1], "model": self.grounder.model_name, **parts}

    def _part(self, seeds: set[int], kind: str) -> dict[str, Any]:
        records = [r for r in self.records if r["seed"] in seeds and r["kind"] == kind]
        outcomes = Counter(str(r["outcome"]) for r in records)
        part = {
            "n": len(records),
            "right": outcomes[DONE] / max(len(records), 1),
            "interval_95": wilson(outcomes[DONE], len(records)),
            "outcomes": dict(outcomes),
        }
        off_m = [r["off_m"] for r in records if r["outcome"] in (DONE, MISPLACED)]
        if kind == PUT and off_m:
            part["off_cm"] = [round(100 * x, 2) for x in np.percentile(off_m, OFF_PERCENTILES)]
        return part

    def contact_sheet(self, seeds: Sequence[int], kinds: Sequence[str]) -> Path:
        """All tiles in one picture."""
        tiles = [self._tile(seed, kind) for seed in seeds for kind in kinds]
        path = self.out / "contact_sheet.png"
        contact_sheet([Image.open(t) for t in tiles if t.exists()], SHEET_COLUMNS).save(path)
        return path


def table_of(summary: Summary) -> Table:
    """The summary for people."""
    table = Table("task", "n", "right", "95 %", "the others", title="grasping by instruction")
    for kind in KINDS_OF_TASK:
        if kind in summary:
            part = summary[kind]
            low, high = part["interval_95"]
            counts = {name: part["outcomes"].get(name, 0) for name in OUTCOMES if name != DONE}
            others = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
            share = (f"{part['right']:.2f}", f"{low:.2f}-{high:.2f}")
            table.add_row(kind, str(part["n"]), *share, others)
    return table


def evaluation(
    seeds: Annotated[str, typer.Option(metavar="A:B", help="Worlds.")] = "2000000:2000010",
    kinds: Annotated[
        list[KindName], typer.Option(help="Kinds of tasks, one or several.")
    ] = DEFAULT_KINDS,
    model: Annotated[str, typer.Option(help="Name, YAML file or directory.")] = "tabletop",
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("out/grasp"),
) -> None:
    """Measure grasping by instruction in many worlds."""
    worlds, names = seed_range(seeds), [KINDS[kind.value] for kind in kinds]
    evaluated = Evaluation(Grounder.from_config(GrounderConfig(model)), out)
    evaluated.run(worlds, names)
    summary = evaluated.summary(worlds, names)
    Console().print(table_of(summary))
    if "off_cm" in summary.get(PUT, {}):
        numbers = ", ".join(f"{x:.1f} cm" for x in summary[PUT]["off_cm"])
        print(f"distance from its place of what was put (median, 95 %, farthest): {numbers}")
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(f"{evaluated.contact_sheet(worlds, names)}, {out / 'grasp.gif'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    return run_command(evaluation, with_repeated_option(arguments, "--kinds"))


if __name__ == "__main__":
    sys.exit(main())
