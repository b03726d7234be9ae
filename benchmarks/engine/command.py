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

"""`python -m benchmarks.engine`: the command line of the engine's benchmarks.

python -m benchmarks.engine                         # or: make bench; some minutes
python -m benchmarks.engine --quick                 # small models, seconds, no meaning
python -m benchmarks.engine --json out/bench.json --plot out/bench.png
python -m benchmarks.engine --device cuda --shape 7b --warm-up   # a GPU of 40 GB or more
python -m benchmarks.engine --embedded              # instead: seconds of the embedded model
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console
from rich.progress import Progress

from benchmarks.engine.benchmark import BenchmarkSettings, grounder_of, run_benchmark
from benchmarks.engine.memory import measure_peak_mib
from benchmarks.engine.plot import plot
from benchmarks.engine.report import tables
from benchmarks.machine import describe_machine
from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.errors import ConfigError

DEFAULT = BenchmarkSettings()
EMBEDDED_THREADS = 2


def engine(  # noqa: PLR0913  one parameter for each option
    rounds: Annotated[
        int, typer.Option(help="Rounds of the smaller model, a third of them of the larger.")
    ] = DEFAULT.rounds,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; by default 1, of --embedded 2.")
    ] = None,
    embedded: Annotated[
        bool,
        typer.Option(
            "--embedded",
            help="Instead: how long the embedded model takes for the first command on an image "
            "and the next, beside nothing else.",
        ),
    ] = False,
    images: Annotated[int, typer.Option(help="Of --embedded: how many.")] = 20,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = DEFAULT.device,
    shape: Annotated[
        Literal["12-layer", "7b"],
        typer.Option(help="12-layer: for a CPU; 7b: for a GPU, in bfloat16."),
    ] = "12-layer",
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny models: only whether it runs.")
    ] = False,
    warm_up: Annotated[
        bool, typer.Option("--warm-up", help="One round more, not counted.")
    ] = False,
    json_path: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Where to write; default: out/bench.json, out/bench_embedded.json."
        ),
    ] = None,
    plot_path: Annotated[
        Path | None, typer.Option("--plot", help="Also draw the JSON, as a PNG.")
    ] = None,
    from_json: Annotated[
        Path | None, typer.Option(help="Measure nothing: show and draw this file.")
    ] = None,
    peak_of: Annotated[tuple[str, str] | None, typer.Option(hidden=True)] = None,
) -> None:
    """Time and memory of commands, beside a straightforward implementation."""
    threads = threads or (EMBEDDED_THREADS if embedded else DEFAULT.threads)
    settings = BenchmarkSettings(rounds, threads, device, shape, quick, warm_up)
    torch.set_num_threads(threads)
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device: expected a GPU, got a machine without; use --device cpu")
    if peak_of is not None:
        name, way = peak_of
        print(measure_peak_mib(grounder_of(name, settings), way))
        return
    if from_json is not None:
        content = json.loads(from_json.read_text(encoding="utf-8"))
    else:
        content = _run_embedded(images, threads) if embedded else run_benchmark(settings)
        where = json_path or Path(f"out/bench{'_embedded' * embedded}.json")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    _show(content, plot_path)


def _run_embedded(images: int, threads: int) -> dict[str, object]:
    from benchmarks.engine.embedded import run  # needs the simulator, the rest does not

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("embedded model, images", total=images)
        found = run(images, threads, lambda: progress.advance(task))
    settings = {"threads": threads, "images": images}
    return {"machine": describe_machine(), "settings": settings, "embedded": found}


def _show(content: Mapping[str, Any], plot_path: Path | None) -> None:
    if "embedded" in content:
        from benchmarks.engine.embedded import table

        Console(width=150).print(table(content))
        return
    Console(width=100).print(tables(content))
    if plot_path is not None:
        plot(content, plot_path)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(engine, argv)
