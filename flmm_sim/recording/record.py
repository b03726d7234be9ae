"""Makes a recording of the simulated tabletop, with the truth of every pixel and a scenario.

    python -m flmm_sim.recording.record out/mugs --seeds 2000200:2000204 --frames 10
    python -m flmm_ros.replay out/mugs

A rosbag2 folder (SQLite or MCAP, compressed or not); the camera goes slowly around each scene.
No ROS is needed. Does not know about: what is in a recording.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from flmm_ros.replay.recording.bag import STORAGE_SUFFIXES
from flmm_sim.recording.recording import COMPRESSIONS, STORAGES, Plan, record
from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX, seed_range


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    args = _parse(argv)
    plan = Plan(
        seeds=range(*args.seeds),
        frames=args.frames,
        rate_hz=args.rate,
        width_px=args.width,
        height_px=args.height,
        turn_deg=args.turn,
        noise=args.noise,
        storage=args.storage,
        compression=args.compression,
        is_jpeg=args.jpeg,
        depth_encoding="" if args.depth == "none" else args.depth,
        ask_every_s=args.ask_every,
    )
    if args.overwrite and _is_recording(args.out):
        shutil.rmtree(args.out)
    try:
        record(args.out, plan, is_shown=True)
    except (FileExistsError, ValueError) as error:
        print(f"record: {error}", file=sys.stderr)
        return 2
    size_mb = sum(f.stat().st_size for f in args.out.iterdir()) / 1e6
    count = len(plan.seeds) * plan.frames
    print(f"{args.out}: {count} images of {len(plan.seeds)} scenes, {size_mb:.1f} MB")
    return 0


def _is_recording(folder: Path) -> bool:
    """Whether there is nothing in a folder but a recording, finished or not."""
    own = ("metadata.yaml", "scenario.yaml")
    return folder.is_dir() and all(
        p.name in own or p.suffix in STORAGE_SUFFIXES for p in folder.iterdir()
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m flmm_sim.recording.record",
        description="Record the simulated tabletop, with the truth and a scenario.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("out", type=Path, help="folder of the new recording")
    add("--seeds", type=seed_range, default="2000200:2000204", metavar="A:B", help="scenes")
    add("--frames", type=int, default=10, help="images of each scene")
    add("--rate", type=float, default=10.0, help="images per second")
    add("--width", type=int, default=WIDTH_PX, help="pixels")
    add("--height", type=int, default=HEIGHT_PX, help="pixels")
    add("--turn", type=float, default=0.6, help="degrees the camera moves between two images")
    add("--noise", type=float, default=2.0, help="standard deviation of the pixel values, 0..255")
    add("--storage", choices=list(STORAGES), default="mcap", help="kind of file")
    add("--compression", choices=list(COMPRESSIONS), default="none", help="what is compressed")
    add("--jpeg", action="store_true", help="CompressedImage instead of Image")
    add("--depth", choices=["16UC1", "32FC1", "none"], default="16UC1", help="encoding")
    add("--ask-every", type=float, default=0.0, help="seconds between the same command; 0 = always")
    add("--overwrite", action="store_true", help="replace an earlier recording")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
