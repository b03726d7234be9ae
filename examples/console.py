"""Everything the console needs, on a machine without a robot: `make console`.

    python -m examples.console --seed 2000031 -- --host 0.0.0.0

Starts the simulated camera, the grounding node with the embedded model, and the console, which
prints its address; what stands after -- goes to the console. Ctrl-C or SIGTERM ends all
three.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from flmm_sim.processes import STOP_TIMEOUT_S, ChildProcess

OUT = Path("out/console")
WIDTH_PX, HEIGHT_PX = 640, 480  # of the camera: larger than the models', for people's eyes


def main(argv: list[str] | None = None) -> int:
    """Entry point; the exit code is the console's."""
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end all three on the way out
    # Neither a robot in the network nor another try on this machine should hear this one.
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    options = [option for option in args.console if option != "--"]
    with ExitStack() as stack:
        camera = (f"seed:={args.seed}", f"width:={WIDTH_PX}", f"height:={HEIGHT_PX}")
        node = ("autostart:=true", f"model:={args.model}")
        for name, module, parameters in (
            ("camera", "flmm_sim.nodes.camera_node", camera),
            ("grounding_node", "flmm_ros.ros.node.grounding_node", node),
        ):
            ros = ["--ros-args", *(word for value in parameters for word in ("-p", value))]
            stack.enter_context(ChildProcess(name, module, ros, OUT / f"{name}.log"))
        Console().print(
            f"logs: {OUT}/camera.log, {OUT}/grounding_node.log; the model loads for some seconds"
        )
        console = subprocess.Popen([sys.executable, "-m", "flmm_ros.console.main", *options])
        stack.callback(_end, console)
        try:
            return console.wait()
        except KeyboardInterrupt:  # the console has got the signal too
            return console.wait(STOP_TIMEOUT_S)


def _end(console: subprocess.Popen[bytes]) -> None:
    """However this program ends, the page does not outlive it."""
    if console.poll() is not None:
        return
    console.terminate()
    try:
        console.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        console.kill()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.console",
        description="A simulated camera, the grounding node and the console.",
    )
    parser.add_argument("--seed", type=int, default=2_000_028, help="the scene (%(default)s)")
    parser.add_argument("--model", default="tabletop", help="the node's parameter `model`")
    parser.add_argument(
        "console", nargs="*", help="after --: options of the console, such as --port 0"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
