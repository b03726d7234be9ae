"""Time and memory of the engine, beside a straightforward implementation in the same run.

    python -m benchmarks.engine                         # or: make bench; some minutes
    python -m benchmarks.engine --quick                 # small models, seconds, no meaning
    python -m benchmarks.engine --json out/bench.json --plot out/bench.png
    python -m benchmarks.engine --device cuda --shape 7b --warm-up   # a GPU of 40 GB or more
    python -m benchmarks.engine --embedded              # instead: seconds of the embedded model

Two language models with random weights, 12 layers of width 1024: LLaVA-1.5's 576 image tokens and
LLaVA-NeXT's 2,340. The heads are those of the original in size, SAM's image encoder is small enough
for a CPU; both sides use the same. With `--shape 7b` they are LLaVA-1.5-7B and LLaVA-NeXT-7B in all
their parts, SAM's ViT-L included; the weights are random, so time and memory are real and answers
are not. The baseline keeps all attention of a whole eager forward, after generation once more, and
remembers nothing. Peak memory is measured in a fresh process each on a CPU, by torch on a GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TaskID

from benchmarks.engine.measure import (
    ALLOCATOR,
    MEMORY_WAYS,
    Seconds,
    measure_commands,
    measure_forwards,
    measure_peak_mib,
)
from benchmarks.engine.models import SHAPES, TINY_TOWER, Shape, build
from benchmarks.engine.plot import plot
from benchmarks.engine.report import Measured, describe_machine, report, tables
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.mask_refiner import SamVitShape

NAMES = {"12-layer": ("llava", "llava_next"), "7b": ("llava_7b", "llava_next_7b")}


def shape_of(name: str, *, is_quick: bool) -> Shape:
    """A shape by name; the quick one has the same parts and next to no size."""
    shape = SHAPES[name]
    if not is_quick:
        return shape
    sam = SamVitShape(32, 1, 2, window=4, global_layers=(0,), mlp_width=32)
    return dataclasses.replace(
        shape,
        layers=2,
        width=64,
        heads=4,
        key_value_heads=2,
        mlp_width=64,
        base_channels=4,
        sam_input_px=128,
        sam=sam,
        vision=TINY_TOWER,
    )


def grounder_of(name: str, args: argparse.Namespace) -> Grounder:
    """The model to measure, on the device to measure it on."""
    dtype = torch.bfloat16 if args.device.startswith("cuda") else torch.float32
    return build(shape_of(name, is_quick=args.quick), args.device, dtype)


def rounds_of(name: str, args: argparse.Namespace) -> int:
    """How often a model is measured: the larger one takes three times as long."""
    return max(1, args.rounds // 3) if name.startswith("llava_next") else int(args.rounds)


def measure(name: str, args: argparse.Namespace, progress: Progress, task: TaskID) -> Measured:
    """Everything about one model."""
    grounder = grounder_of(name, args)
    on_gpu, peaks = grounder.lmm.device.type == "cuda", {}
    for way in MEMORY_WAYS if on_gpu else ():  # first: later its images would be remembered
        progress.update(task, description=f"{name}: memory, {way}")
        peaks[way] = measure_peak_mib(grounder, way)
        progress.advance(task)
    commands: list[dict[str, Seconds]] = []
    forwards: list[dict[str, Seconds]] = []
    for number in range(-1 if args.warm_up else 0, rounds_of(name, args)):
        progress.update(task, description=f"{name}: commands, round {number + 1}")
        command = measure_commands(grounder, number + 1)
        progress.advance(task)
        progress.update(task, description=f"{name}: forwards, round {number + 1}")
        forward = measure_forwards(grounder)
        progress.advance(task)
        if number >= 0:
            commands.append(command)
            forwards.append(forward)
    grounder.close()
    del grounder
    for way in () if on_gpu else MEMORY_WAYS:
        progress.update(task, description=f"{name}: memory, {way}")
        peaks[way] = peak_in_child(name, way, args)
        progress.advance(task)
    return Measured(name, shape_of(name, is_quick=args.quick), commands, forwards, peaks)


def peak_in_child(name: str, way: str, args: argparse.Namespace) -> float:
    """`measure_peak_mib` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engine", "--peak-of", name, way]
    command += ["--device", args.device, "--threads", str(os.cpu_count() or 1)]
    found = subprocess.run(
        command + ["--quick"] * args.quick,
        env=os.environ | ALLOCATOR,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(found.stdout.strip().splitlines()[-1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description="Time and memory of commands, beside a straightforward implementation.",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="rounds of the smaller model, a third of them of the larger (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: 1; of --embedded: 2)")
    parser.add_argument(
        "--embedded",
        action="store_true",
        help="instead: how long the embedded model takes for the first command on an image and the "
        "next, beside nothing else",
    )
    parser.add_argument(
        "--images", type=int, default=20, help="of --embedded: how many (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument(
        "--shape",
        choices=tuple(NAMES),
        default="12-layer",
        help="12-layer: for a CPU; 7b: for a GPU, in bfloat16 (default: %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="tiny models: only whether it runs")
    parser.add_argument("--warm-up", action="store_true", help="one round more, not counted")
    parser.add_argument(
        "--json",
        type=Path,
        help="where to write (default: out/bench.json, out/bench_embedded.json)",
    )
    parser.add_argument("--plot", type=Path, help="also draw the JSON, as a PNG")
    parser.add_argument("--from-json", type=Path, help="measure nothing: show and draw this file")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    return parser


def _run(args: argparse.Namespace) -> dict[str, object]:
    names = NAMES[args.shape]
    steps = [2 * (rounds_of(n, args) + args.warm_up) + len(MEMORY_WAYS) for n in names]
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=sum(steps))
        found = [measure(name, args, progress, task) for name in names]
    settings = {key: str(value) for key, value in vars(args).items() if value is not None}
    return report(found, describe_machine(args.device), settings)


def _run_embedded(args: argparse.Namespace) -> dict[str, object]:
    from benchmarks.engine import (
        embedded as bench_embedded,  # needs the simulator, the other measurements do not
    )

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("embedded model, images", total=args.images)
        found = bench_embedded.run(args.images, args.threads, lambda: progress.advance(task))
    settings = {"threads": args.threads, "images": args.images}
    return {"machine": describe_machine("cpu"), "settings": settings, "embedded": found}


def _with_defaults(args: argparse.Namespace) -> argparse.Namespace:
    """What depends on whether the embedded model is meant."""
    args.threads = args.threads or (2 if args.embedded else 1)
    args.json = args.json or Path(f"out/bench{'_embedded' * args.embedded}.json")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    args = _with_defaults(_parser().parse_args(argv))
    torch.set_num_threads(args.threads)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("device: expected a GPU, got a machine without; use --device cpu", file=sys.stderr)
        return 2
    if args.peak_of:
        name, way = args.peak_of
        print(measure_peak_mib(grounder_of(name, args), way))
        return 0
    if args.from_json:
        content = json.loads(args.from_json.read_text(encoding="utf-8"))
    else:
        content = _run_embedded(args) if args.embedded else _run(args)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if "embedded" in content:
        from benchmarks.engine import embedded as bench_embedded

        Console(width=150).print(bench_embedded.table(content))
        return 0
    Console(width=100).print(tables(content))
    if args.plot:
        plot(content, args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
