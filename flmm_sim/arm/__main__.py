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
