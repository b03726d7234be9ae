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

"""`python -m flmm_sim.recording`: records the simulated tabletop, with truth and a scenario.

    python -m flmm_sim.recording out/mugs --seeds 2000200:2000204 --frames 10
    flmm replay out/mugs

A rosbag2 folder (SQLite or MCAP, compressed or not); the camera goes slowly around each scene.
No ROS is needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from flmm_ros.cli.command_line import run_command
from flmm_ros.replay.recording.bag import STORAGE_SUFFIXES
from flmm_sim.recording.recording import RecordingPlan, record
from flmm_sim.tabletop.seeds import seed_range
from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX

DEFAULT = RecordingPlan(seed_range("2000200:2000204"))


def recording(  # noqa: PLR0913  one parameter for each option
    out: Annotated[Path, typer.Argument(help="Folder of the new recording.")],
    seeds: Annotated[str, typer.Option(metavar="A:B", help="Scenes.")] = "2000200:2000204",
    frames: Annotated[int, typer.Option(help="Images of each scene.")] = DEFAULT.frames,
    rate: Annotated[float, typer.Option(help="Images per second.")] = DEFAULT.rate_hz,
    width: Annotated[int, typer.Option(help="Pixels.")] = WIDTH_PX,
    height: Annotated[int, typer.Option(help="Pixels.")] = HEIGHT_PX,
    turn: Annotated[
        float, typer.Option(help="Degrees the camera moves between two images.")
    ] = DEFAULT.turn_deg,
    noise: Annotated[
        float, typer.Option(help="Standard deviation of the pixel values, 0..255.")
    ] = DEFAULT.noise,
    storage: Annotated[Literal["sqlite3", "mcap"], typer.Option(help="Kind of file.")] = "mcap",
    compression: Annotated[
        Literal["none", "message", "file", "chunk"], typer.Option(help="What is compressed.")
    ] = "none",
    jpeg: Annotated[bool, typer.Option("--jpeg", help="CompressedImage instead of Image.")] = False,
    depth: Annotated[
        Literal["16UC1", "32FC1", "none"], typer.Option(help="Encoding of depth.")
    ] = "16UC1",
    ask_every: Annotated[
        float, typer.Option(help="Seconds between the same command; 0: about every image.")
    ] = DEFAULT.ask_every_s,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier recording.")
    ] = False,
) -> None:
    """Record the simulated tabletop, with the truth of every pixel and a scenario."""
    plan = RecordingPlan(
        seeds=seed_range(seeds),
        frames=frames,
        rate_hz=rate,
        width_px=width,
        height_px=height,
        turn_deg=turn,
        noise=noise,
        storage=storage,
        compression=compression,
        is_jpeg=jpeg,
        depth_encoding="" if depth == "none" else depth,
        ask_every_s=ask_every,
    )
    if overwrite and _is_recording(out):
        shutil.rmtree(out)
    record(out, plan, is_shown=True)
    size_mb = sum(f.stat().st_size for f in out.iterdir()) / 1e6
    count = len(plan.seeds) * plan.frames
    print(f"{out}: {count} images of {len(plan.seeds)} scenes, {size_mb:.1f} MB")


def _is_recording(folder: Path) -> bool:
    """Whether there is nothing in a folder but a recording, finished or not."""
    own = ("metadata.yaml", "scenario.yaml")
    return folder.is_dir() and all(
        p.name in own or p.suffix in STORAGE_SUFFIXES for p in folder.iterdir()
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(recording, argv)
