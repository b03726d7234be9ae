"""How far from the truth targets are on tabletop scenes, by kind of object.

    python -m benchmarks.targets.accuracy --seeds 1000000:1000050

The masks are the simulator's: what is measured is geometry. `middle` is the distance on the table
between the box's middle and where the object was put (the origin of its shape, which is not the
middle of a mug with a handle, a duck or a bunny).
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from rich.progress import track

from benchmarks.targets.picture import targets_of
from flmm_ros.engine.targets.settings import TargetConfig
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


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measure targets against the simulator's truth.")
    parser.add_argument("--seeds", default="1000000:1000050", help="first:last, without the last")
    parser.add_argument("--width", type=int, default=640, help="pixels")
    parser.add_argument("--height", type=int, default=480, help="pixels")
    args = parser.parse_args(argv)
    first, _, last = args.seeds.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        parser.error(f"--seeds: expected FIRST:LAST, got {args.seeds!r}")
    seeds = range(int(first), int(last))
    errors_mm, times_ms = measure(seeds, (args.width, args.height))
    print("| kind | objects | middle, median | middle, 95 % |\n|---|---|---|---|")
    for kind in sorted(errors_mm, key=lambda kind: np.median(errors_mm[kind])):
        values = errors_mm[kind]
        middle, worst = np.median(values), np.percentile(values, 95)
        print(f"| {kind} | {len(values)} | {middle:.1f} mm | {worst:.1f} mm |")
    print(f"\n{np.median(times_ms):.0f} ms of processor time an object, without grasps")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
