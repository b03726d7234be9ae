"""`python -m flmm_sim.arm 2000000 --out world.png`: what the camera sees, and an onlooker."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from flmm_ros.cli.command_line import run_command
from flmm_sim.arm.world import PICTURE_HW, GraspWorld


def arm(
    seed: Annotated[int, typer.Argument(help="Which world.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("world.png"),
) -> None:
    """Draw the world of one seed for gripping, as its camera and an onlooker see it."""
    with GraspWorld(seed) as world:
        pictures = [world.picture().rgb, world.onlooker_picture(PICTURE_HW)]
        print(", ".join(thing.name for thing in world.things))
    Image.fromarray(np.hstack(pictures)).save(out)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(arm, argv)


if __name__ == "__main__":
    sys.exit(main())
