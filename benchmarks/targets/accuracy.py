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

"""How far from the truth targets are on tabletop scenes, by kind of object.

    python -m benchmarks.targets.accuracy --seeds 1000000:1000050

The masks are the simulator's: what is measured is geometry. `middle` is the distance on the table
between the box's middle and where the object was put (the origin of its shape, which is not the
middle of a mug with a handle, a duck or a bunny).
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from benchmarks.targets.picture import targets_of
from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_sim.tabletop.seeds import seed_range
from flmm_sim.tabletop.tabletop import Tabletop


def measure(seeds: range, size_px: tuple[int, int]) -> tuple[dict[str, list[float]], list[float]]:
    """Errors of the middle in millimetres by kind, and processor milliseconds an object."""
    errors_mm: dict[str, list[float]] = defaultdict(list)
    times_ms: list[float] = []
    with Tabletop(*size_px) as table:
        for seed in track(seeds, "scenes"):
            scene = table.render(seed)
            start_s = time.process_time()
            targets = targets_of(scene, TargetConfig(grasps=False))
            times_ms.append(1e3 * (time.process_time() - start_s) / len(targets))
            for obj, target in zip(scene.objects, targets, strict=True):
                middle = scene.T_world_camera[:3] @ np.append(target.box.T_camera_box[:3, 3], 1)
                off_m = np.linalg.norm(middle[:2] - np.array(obj.position_m[:2]))
                errors_mm[obj.kind].append(float(1e3 * off_m))
    return errors_mm, times_ms


def accuracy(
    seeds: Annotated[str, typer.Option(metavar="A:B", help="Scenes.")] = "1000000:1000050",
    width: Annotated[int, typer.Option(help="Pixels.")] = 640,
    height: Annotated[int, typer.Option(help="Pixels.")] = 480,
) -> None:
    """Measure targets against the simulator's truth."""
    errors_mm, times_ms = measure(seed_range(seeds), (width, height))
    print("| kind | objects | middle, median | middle, 95 % |\n|---|---|---|---|")
    for kind in sorted(errors_mm, key=lambda kind: np.median(errors_mm[kind])):
        values = errors_mm[kind]
        middle, worst = np.median(values), np.percentile(values, 95)
        print(f"| {kind} | {len(values)} | {middle:.1f} mm | {worst:.1f} mm |")
    print(f"\n{np.median(times_ms):.0f} ms of processor time an object, without grasps")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(accuracy, argv)


if __name__ == "__main__":
    sys.exit(main())
