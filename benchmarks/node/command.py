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

"""`python -m benchmarks.node`: what the node costs above the engine, or how fast it answers.

    python scripts/own_domain.py python -m benchmarks.node                     # overhead
    python scripts/own_domain.py python -m benchmarks.node --json latency.json  # time to mask, word

`python -m benchmarks.node.idle` measures what it costs while nobody asks.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.node.latency import LatencySettings, measure_latency
from benchmarks.node.overhead import MAX_P99_MS, measure, show, summary
from flmm_ros.cli.command_line import BAD_INPUT, run_command
from flmm_ros.ros.client.client import GroundingError

DEFAULT = LatencySettings()


def node(
    pairs: Annotated[int, typer.Option(help="Pairs by topic and by action.")] = 500,
    out: Annotated[Path, typer.Option(help="Folder of results and logs.")] = Path("out/overhead"),
    json_path: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Instead: time to mask and time to first word at 640x480 and 1920x1080, written "
            "here.",
        ),
    ] = None,
    commands: Annotated[
        int, typer.Option(help="Of --json: commands of each kind and size.")
    ] = DEFAULT.commands,
    camera_hz: Annotated[
        float, typer.Option(help="Of --json: images a second.")
    ] = DEFAULT.camera_hz,
    model: Annotated[str, typer.Option(help="Of --json: the node's model.")] = DEFAULT.model,
    device: Annotated[str, typer.Option(help="Of --json: the node's device.")] = DEFAULT.device,
) -> int:
    """What the node costs above the engine; with --json how long it takes to answer.

    Exit status: 0 the p99 of topic commands is within the requirement, or --json was written;
    1 it is not; 2 it could not run.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the node on the way out
    try:
        if json_path is not None:
            settings = LatencySettings(commands, camera_hz, model, device)
            _write(json_path, measure_latency(settings, out))
            return 0
        content = summary(measure(pairs, out))
    except (RuntimeError, TimeoutError, GroundingError) as error:
        print(f"benchmarks.node: {error}", file=sys.stderr)
        return BAD_INPUT
    show(content, Console())
    out.mkdir(parents=True, exist_ok=True)
    (out / "overhead.json").write_text(json.dumps(content, indent=1) + "\n")
    return 0 if content["topic"]["overhead_ms"]["p99"] <= MAX_P99_MS else 1


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    table = Table(
        "image", "time to mask p50 / p99", "time to first word p50 / p99", title=str(path)
    )
    for size, result in content["results"].items():
        times = (result[name] for name in ("time_to_mask", "time_to_first_word"))
        table.add_row(size, *(f"{t['p50_ms']:.0f} / {t['p99_ms']:.0f} ms" for t in times))
    Console().print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(node, argv)
