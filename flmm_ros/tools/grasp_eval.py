"""How often the robot picks up what it is told to, and leaves alone what is not there.

    python -m flmm_ros.tools.grasp_eval --seeds 2000000:2000050 --out out/grasp

Every seed is one world with two instructions: "pick up the <colour> <kind>" of a thing that lies
there, and of one that does not. Physics judges. Runs the engine in this process, without topics:
the steps of grasp_attempt.py. A run that was cut off goes on; the results are in `attempts.jsonl`.

Does not know about: ROS, how something is gripped.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.overlay import draw_overlay
from flmm_ros.engine.types import FlmmError
from flmm_ros.tools.grasp_attempt import OUTCOMES, PICKED, attempt
from flmm_ros.tools.grasp_pictures import TILE_HW, contact_sheet, save_film, tile_of
from flmm_ros.tools.grasp_tasks import absent_names
from flmm_ros.tools.grasp_world import GraspWorld
from flmm_ros.tools.tabletop import seed_range

FILM_EVERY = 24  # physics steps: ten pictures a second
SHEET_COLUMNS = 6
Record = dict[str, object]


def wilson(right: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson's score interval); (0, 1) of nothing."""
    if not count:
        return 0.0, 1.0
    share, spread = right / count, z * z / count
    middle = share + spread / 2
    reach = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, (middle - reach) / (1 + spread)), min(1.0, (middle + reach) / (1 + spread))


def instructions(seed: int) -> tuple[str, str]:
    """Names of a thing that lies in the world of a seed, and of one that does not."""
    rng = np.random.default_rng([seed, 7])
    with GraspWorld(seed) as world:
        names = [thing.name for thing in world.things]
        absent = absent_names(world)
    return str(rng.choice(names)), str(rng.choice(absent))


class Evaluation:
    """Attempts over many seeds, kept in a folder: one line an attempt, one tile a seed."""

    def __init__(self, grounder: Grounder, out: Path) -> None:
        self.grounder, self.out = grounder, out
        (out / "tiles").mkdir(parents=True, exist_ok=True)
        self._path = out / "attempts.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        self.records: list[Record] = [json.loads(line) for line in lines if line.endswith("}")]

    def run(self, seeds: Sequence[int]) -> None:
        """Everything of these seeds that has not been tried yet."""
        known = {(r["seed"], r["is_there"]) for r in self.records}
        wanted = [s for s in seeds if (s, True) not in known or (s, False) not in known]
        for seed in track(wanted, description="worlds"):
            for name, is_there in zip(instructions(seed), (True, False), strict=True):
                if (seed, is_there) not in known:
                    self._try(seed, name, is_there)

    def _try(self, seed: int, name: str, is_there: bool) -> None:
        film: list[NDArray[np.uint8]] = []
        steps = 0

        def watch(world: GraspWorld) -> None:
            nonlocal steps
            steps += 1
            if steps % FILM_EVERY == 0:
                film.append(world.onlooker_picture(TILE_HW))

        filmed = is_there and not (self.out / "grasp.gif").exists()
        with GraspWorld(seed, watch if filmed else None) as world:
            tried = attempt(self.grounder, world, f"pick up the {name}", name)
            end = world.onlooker_picture(TILE_HW)
        if filmed and tried.outcome == PICKED:
            save_film(film, self.out / "grasp.gif")
        if is_there:
            seen = draw_overlay(tried.picture.rgb, tried.objects)
            problem = "" if tried.outcome == PICKED else tried.outcome
            tile_of(name, problem, seen, end).save(self.out / "tiles" / f"{seed}.png")
        record: Record = {
            "seed": seed,
            "instruction": f"pick up the {name}",
            "is_there": is_there,
            "outcome": tried.outcome,
            "touched": tried.touched,
            "rise_m": round(tried.rise_m, 4),
            "said": tried.said,
        }
        self.records.append(record)
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")

    def summary(self, seeds: Sequence[int]) -> dict[str, object]:
        """Success of what was there, and how often nothing was touched of what was not."""
        chosen = [r for r in self.records if r["seed"] in set(seeds)]
        there = [r for r in chosen if r["is_there"]]
        absent = [r for r in chosen if not r["is_there"]]
        picked = sum(r["outcome"] == PICKED for r in there)
        left = sum(not r["touched"] for r in absent)
        return {
            "seeds": [min(seeds), max(seeds) + 1],
            "model": self.grounder.model_name,
            "there": {
                "n": len(there),
                "picked_up": picked / max(len(there), 1),
                "interval_95": wilson(picked, len(there)),
                "outcomes": dict(Counter(str(r["outcome"]) for r in there)),
            },
            "absent": {
                "n": len(absent),
                "nothing_touched": left / max(len(absent), 1),
                "interval_95": wilson(left, len(absent)),
                "outcomes": dict(Counter(str(r["outcome"]) for r in absent)),
            },
        }

    def contact_sheet(self, seeds: Sequence[int]) -> Path:
        """All tiles in one picture."""
        tiles = [self.out / "tiles" / f"{seed}.png" for seed in seeds]
        path = self.out / "contact_sheet.png"
        contact_sheet([Image.open(t) for t in tiles if t.exists()], SHEET_COLUMNS).save(path)
        return path


def table_of(summary: dict[str, object]) -> Table:
    """The summary for people."""
    table = Table("instruction", "n", "right", "95 %", *OUTCOMES, title="picking up by instruction")
    for key, share in (("there", "picked_up"), ("absent", "nothing_touched")):
        part = summary[key]
        assert isinstance(part, dict)
        low, high = part["interval_95"]
        counts = [str(part["outcomes"].get(outcome, 0)) for outcome in OUTCOMES]
        table.add_row(key, str(part["n"]), f"{part[share]:.2f}", f"{low:.2f}-{high:.2f}", *counts)
    return table


def main(argv: list[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Measure picking up by instruction.")
    parser.add_argument("--seeds", type=seed_range, default=(2_000_000, 2_000_010))
    parser.add_argument("--model", default="tabletop", help="model name, YAML or directory")
    parser.add_argument("--out", type=Path, default=Path("out/grasp"), help="folder of the results")
    args = parser.parse_args(argv)
    try:
        grounder = Grounder.from_config(GrounderConfig(args.model))
    except FlmmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    evaluation, seeds = Evaluation(grounder, args.out), range(*args.seeds)
    evaluation.run(seeds)
    summary = evaluation.summary(seeds)
    Console().print(table_of(summary))
    (args.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(f"{evaluation.contact_sheet(seeds)}, {args.out / 'grasp.gif'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
