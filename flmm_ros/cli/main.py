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

"""The command `flmm`: a table of verbs, each loaded only when it is asked for.

Help and completion import no torch and no rclpy. `ros2 run flmm_ros flmm` is the same program.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from flmm_ros.cli.command_line import BAD_INPUT, run_app
from flmm_ros.cli.doctor.install import advice_for
from flmm_ros.engine.errors import FlmmError

# verb -> (module with a function of the verb's name, one line of help)
VERBS = {
    "ground": ("flmm_ros.cli.ground", "Ask about an image file; needs no ROS."),
    "ask": ("flmm_ros.cli.ask", "Ask the running node; needs no torch."),
    "console": ("flmm_ros.console.main", "Serve a web page to talk to the running node."),
    "doctor": (
        "flmm_ros.cli.doctor.command",
        "Say what this machine can run, and what is missing.",
    ),
    "localise": ("flmm_ros.cli.localise", "Find the attention heads of a model that point."),
    "export": ("flmm_ros.cli.export", "Export trained heads to ONNX Runtime and TensorRT."),
    "record": ("flmm_ros.cli.record", "Record the camera and the node's answers for a replay."),
    "replay": ("flmm_ros.replay.command", "Judge recordings: how well, and how fast."),
    "parity": ("flmm_ros.cli.parity", "Compare the engine with numbers of the official code."),
}


def flmm_app(arguments: Sequence[str]) -> typer.Typer:
    """The app with all verbs; only the one that the arguments name is loaded."""
    app = typer.Typer(
        name="flmm",
        help="Language grounding for robots: answers in words, and masks of what the words mean.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    named = next((word for word in arguments if word in VERBS), None)
    for verb, (module, help_line) in VERBS.items():
        if verb == named:
            _add(app, verb, getattr(importlib.import_module(module), verb))
        else:
            app.command(verb, help=help_line)(_not_loaded)
    return app


def _add(app: typer.Typer, verb: str, program: Callable[..., Any] | typer.Typer) -> None:
    """A verb is a function, or an app with verbs of its own."""
    if isinstance(program, typer.Typer):
        app.add_typer(program, name=verb)
    else:
        app.command(verb)(program)


def _not_loaded() -> None:
    """Stands for a verb in the list of all."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the executable `flmm`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # When a shell asks for completions, what was typed so far stands in the environment.
    typed = arguments or os.environ.get("_TYPER_COMPLETE_ARGS", "").split()
    try:
        app = flmm_app(typed)
    except FlmmError as error:  # a package that the verb needs is not installed
        print(f"flmm: {error}", file=sys.stderr)
        return BAD_INPUT
    except ModuleNotFoundError as missing:
        advice = advice_for(missing.name)
        if not advice:
            raise
        print(f"flmm: {advice}", file=sys.stderr)
        return BAD_INPUT
    return run_app(app, arguments, "flmm")


if __name__ == "__main__":
    sys.exit(main())
