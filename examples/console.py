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

"""Everything the console needs, on a machine without a robot: `make console`.

    python -m examples.console --seed 2000031 -- --host 0.0.0.0

Starts the simulated camera, the grounding node with the embedded model, and the console, which
prints its address; what stands after -- goes to the console. Ctrl-C or SIGTERM ends all
three.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flmm_ros.cli.command_line import run_command
from flmm_sim.processes import STOP_TIMEOUT_S, ChildProcess

OUT = Path("out/console")
WIDTH_PX, HEIGHT_PX = 640, 480  # of the camera: larger than the models', for people's eyes


def console(
    options: Annotated[
        list[str] | None,
        typer.Argument(help="After --: options of the console, such as --port 0."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The scene.")] = 2_000_028,
    model: Annotated[str, typer.Option(help="The node's parameter `model`.")] = "tabletop",
) -> int:
    """A simulated camera, the grounding node and the console.

    The exit status is the console's.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end all three on the way out
    # Neither a robot in the network nor another try on this machine should hear this one.
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with ExitStack() as stack:
        camera = (f"seed:={seed}", f"width:={WIDTH_PX}", f"height:={HEIGHT_PX}")
        node = ("autostart:=true", f"model:={model}")
        for name, module, parameters in (
            ("camera", "flmm_sim.nodes.camera_node", camera),
            ("grounding_node", "flmm_ros.ros.node.grounding_node", node),
        ):
            ros = ["--ros-args", *(word for value in parameters for word in ("-p", value))]
            stack.enter_context(ChildProcess(name, module, ros, OUT / f"{name}.log"))
        Console().print(
            f"logs: {OUT}/camera.log, {OUT}/grounding_node.log; the model loads for some seconds"
        )
        page = subprocess.Popen([sys.executable, "-m", "flmm_ros.console.main", *(options or ())])
        stack.callback(_end, page)
        try:
            return page.wait()
        except KeyboardInterrupt:  # the console has got the signal too
            return page.wait(STOP_TIMEOUT_S)


def _end(page: subprocess.Popen[bytes]) -> None:
    """However this program ends, the page does not outlive it."""
    if page.poll() is not None:
        return
    page.terminate()
    try:
        page.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        page.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(console, argv)


if __name__ == "__main__":
    sys.exit(main())
