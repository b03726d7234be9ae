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
