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

"""Pictures of the simulated tabletop, each with the names of what lies on it in a text file.

    python -m flmm_sim.recording.snapshots --seeds 2000100:2000140 --out out/snapshots

Something to try programs on that need no camera, such as `flmm localise`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.progress import track

from flmm_ros.cli.command_line import run_command
from flmm_sim.tabletop.seeds import seed_range
from flmm_sim.tabletop.tabletop import Tabletop


def take_snapshots(seeds: range, out: Path) -> list[Path]:
    """Renders every seed; writes NAME.png and NAME.txt, one phrase a line."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with Tabletop() as table:
        for seed in track(seeds, description="scenes"):
            scene = table.render(seed)
            picture = out / f"scene_{seed}.png"
            Image.fromarray(scene.rgb).save(picture)
            phrases = "".join(f"the {thing.name}\n" for thing in scene.objects)
            picture.with_suffix(".txt").write_text(phrases, encoding="utf-8")
            written.append(picture)
    return written


def snapshots(
    seeds: Annotated[str, typer.Option(metavar="A:B", help="Scenes.")] = "2000100:2000140",
    out: Annotated[Path, typer.Option(help="Folder.")] = Path("out/snapshots"),
) -> None:
    """Take pictures of the simulated tabletop."""
    print(f"{len(take_snapshots(seed_range(seeds), out))} pictures in {out}")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(snapshots, argv)


if __name__ == "__main__":
    sys.exit(main())
