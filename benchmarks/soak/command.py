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

"""`python -m benchmarks.soak`: the command line of the soak.

    python scripts/own_domain.py python -m benchmarks.soak --minutes 10

Prints what was sent, answered, refused by code and lost, and writes soak.json and soak.png.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.soak import report
from benchmarks.soak.soak import SoakSettings, run_soak
from flmm_ros.cli.command_line import BAD_INPUT, run_command

DEFAULT = SoakSettings()


def soak(
    minutes: Annotated[float, typer.Option(help="How long.")] = DEFAULT.minutes,
    out: Annotated[Path, typer.Option(help="Folder for results and logs.")] = Path("out/soak"),
    seed: Annotated[int, typer.Option(help="Which commands are sent when.")] = DEFAULT.seed,
    camera_hz: Annotated[float, typer.Option(help="Images a second.")] = DEFAULT.camera_hz,
    command_hz: Annotated[float, typer.Option(help="Commands a second.")] = DEFAULT.command_hz,
    model: Annotated[str, typer.Option(help="Model of the node.")] = DEFAULT.model,
    threads: Annotated[
        int, typer.Option(help="CPU threads of the node; 0: all.")
    ] = DEFAULT.threads,
    faults: Annotated[str, typer.Option(help="See benchmarks.soak.faulty_node.")] = DEFAULT.faults,
) -> int:
    """Let the node work while everything around it goes wrong, and count what gets lost.

    Exit status: 0 every requirement is met, 1 one is not, 2 it could not run.
    """
    settings = SoakSettings(minutes, seed, camera_hz, command_hz, model, threads, faults)
    console = Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the node on the way out
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console) as bar:
            result = run_soak(settings, out, bar)
    except (RuntimeError, TimeoutError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return BAD_INPUT
    report.show(result, console)
    report.write(result, out)
    console.print(f"{out}/soak.json, soak.png, node_*.log")
    return 0 if result.is_passed else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(soak, argv)
