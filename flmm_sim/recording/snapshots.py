"""Pictures of the simulated tabletop, each with the names of what lies on it in a text file.

    python -m flmm_sim.recording.snapshots --seeds 2000100:2000140 --out out/snapshots

Something to try the tools on that need no camera, such as flmm_ros.cli.localise. Does not
know about: models, ROS.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image
from rich.progress import track

from flmm_sim.tabletop.tabletop import Tabletop, seed_range


def take(first: int, stop: int, out: Path) -> list[Path]:
    """Renders seeds first..stop-1; writes NAME.png and NAME.txt, one phrase a line."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with Tabletop() as table:
        for seed in track(range(first, stop), description="scenes"):
            scene = table.render(seed)
            picture = out / f"scene_{seed}.png"
            Image.fromarray(scene.rgb).save(picture)
            phrases = "".join(f"the {thing.name}\n" for thing in scene.objects)
            picture.with_suffix(".txt").write_text(phrases, encoding="utf-8")
            written.append(picture)
    return written


def main(argv: list[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Take pictures of the simulated tabletop.")
    parser.add_argument(
        "--seeds",
        type=seed_range,
        default="2000100:2000140",
        metavar="A:B",
        help="scenes (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, default=Path("out/snapshots"), help="folder")
    args = parser.parse_args(argv)
    first, stop = args.seeds
    print(f"{len(take(first, stop, args.out))} pictures in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
