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

"""`python -m flmm_sim.tabletop 7 --out scene.png`: draws the scene of one seed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from flmm_ros.cli.command_line import run_command
from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX, Tabletop


def tabletop(
    seed: Annotated[int, typer.Argument(help="Which scene.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("scene.png"),
    crowded: Annotated[bool, typer.Option("--crowded", help="4 to 10 things, patterned.")] = False,
    width: Annotated[int, typer.Option(help="Pixels.")] = WIDTH_PX,
    height: Annotated[int, typer.Option(help="Pixels.")] = HEIGHT_PX,
) -> None:
    """Draw the simulated tabletop of one seed, and say what is on it."""
    with Tabletop(width, height) as table:
        scene = table.render_crowd(seed) if crowded else table.render(seed)
    Image.fromarray(scene.rgb).save(out)
    for obj in scene.objects:
        x, y = obj.center_px
        print(f"{obj.label}  {obj.name:<16} at ({x:.0f}, {y:.0f}) px, {obj.visible_px} px visible")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(tabletop, argv)


if __name__ == "__main__":
    sys.exit(main())
