"""What this machine can run, and what stands in the way.

    python -m flmm_ros.cli.doctor
    python -m flmm_ros.cli.doctor --model qwen2_5_vl_7b --image-topic /camera/image_raw --json

Four looks: the machine and its packages; each model's memory against what is free; what runs the
heads; ROS, and who publishes the image topic with which QoS. Nothing is loaded or downloaded. Exit
status: 0 nothing is wrong, 1 something is (with --model: for that model), 2 wrong arguments.

Does not know about: how models are loaded, the node.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table

from flmm_ros.cli.doctor.published_sizes import PUBLISHED
from flmm_ros.cli.doctor.ros_graph import RosFacts, look_around
from flmm_ros.engine.config import TRAINING_FREE, ModelConfig, known_models
from flmm_ros.engine.config.model_search import locate_model
from flmm_ros.engine.errors import FlmmError
from flmm_ros.engine.runtime.memory import GIB, PRECISIONS, available, need_of, size_of

PACKAGES = ("torch", "transformers", "onnxruntime", "onnxruntime-gpu", "tensorrt", "bitsandbytes")


@dataclass(frozen=True)
class ModelFacts:
    """One model on this machine. need_gib: at each precision, from its configuration or, while that
    is not here, from its published size; None where neither is known; fits: likewise. missing: what
    is not here, each with what to do."""

    name: str
    family: str
    need_gib: dict[str, float | None]
    fits: dict[str, bool | None]
    missing: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        return not self.missing and any(self.fits.values())


@dataclass(frozen=True)
class Findings:
    """Everything the doctor found."""

    machine: dict[str, str]
    packages: dict[str, str]
    providers: tuple[str, ...]
    device: str
    free_gib: float
    models: tuple[ModelFacts, ...]
    ros: RosFacts


def examine(model: str | None, image_topic: str) -> Findings:
    """Looks at everything; `model` only, or all known ones.

    Raises:
        ConfigError: no such model, or a model file that cannot be read.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    free = available(device)
    names = [model] if model else known_models()
    return Findings(
        machine=_machine(),
        packages={name: _version(name) for name in PACKAGES},
        providers=_providers(),
        device=device,
        free_gib=round(free / GIB, 1),
        models=tuple(_model(locate_model(name), free) for name in names),
        ros=look_around(image_topic),
    )


def _machine() -> dict[str, str]:
    memory = psutil.virtual_memory()
    facts = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "CPU": f"{os.cpu_count()} threads",
        "memory": f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} free",
    }
    for n in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(n)
        major, minor = torch.cuda.get_device_capability(n)
        facts[f"cuda:{n}"] = (
            f"{torch.cuda.get_device_name(n)}, capability {major}.{minor}, "
            f"{total / GIB:.1f} GiB, {free / GIB:.1f} free"
        )
    return facts


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _providers() -> tuple[str, ...]:
    try:
        import onnxruntime
    except ImportError:
        return ()
    return tuple(onnxruntime.get_available_providers())


def _model(model: ModelConfig, free: int) -> ModelFacts:
    size = size_of(model)
    is_here = size is not None
    if size is None and model.lmm in PUBLISHED:
        size = PUBLISHED[model.lmm].size()
    needs = {precision: need_of(model, precision, size=size) for precision in PRECISIONS}
    return ModelFacts(
        name=model.name,
        family=model.family,
        need_gib={p: round(n.total / GIB, 2) if n else None for p, n in needs.items()},
        fits={p: n.total <= free if n else None for p, n in needs.items()},
        missing=tuple(_missing(model, is_here=is_here)),
    )


def _missing(model: ModelConfig, *, is_here: bool) -> list[str]:
    missing = []
    if not is_here:
        missing.append(f"lmm {model.lmm}: not here; fetch it once with the parameter download")
    if model.heads == TRAINING_FREE:
        if not Path(model.localisation).is_file():
            missing.append(
                f"localisation {model.localisation}: make it with "
                f"python -m flmm_ros.cli.localise {model.name} IMAGES..."
            )
    elif not Path(model.heads).is_file():
        missing.append(f"heads {model.heads}: bring the file")
    if model.sam and not Path(model.sam).is_file():
        missing.append(f"sam {model.sam}: bring the file")
    return missing


def show(found: Findings, console: Console) -> None:
    """Prints the findings for people."""
    for title, facts in (("machine", found.machine), ("packages", found.packages)):
        console.print(f"[bold]{title}[/bold]")
        for name, value in facts.items():
            console.print(f"  {name:<16} {value or 'not installed'}", highlight=False)
    console.print(f"  {'ONNX Runtime':<16} {', '.join(found.providers) or 'not installed'}")
    table = Table(title="memory needed, GiB; no: does not fit")
    table.add_column("model", no_wrap=True)
    for name in (*PRECISIONS, "missing"):
        table.add_column(name)
    for model in found.models:
        cells = [_cell(model.need_gib[p], model.fits[p]) for p in PRECISIONS]
        missing = f"{len(model.missing)} things" if model.missing else "nothing"
        table.add_row(model.name, *cells, missing)
    console.print(table)
    console.print(f"free on {found.device}: {found.free_gib} GiB", highlight=False)
    if len(found.models) > 1:
        console.print("what is missing, and what to do about it: --model NAME", highlight=False)
    else:
        for line in found.models[0].missing:
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    console.print("[bold]ROS[/bold]")
    for line in found.ros.lines():
        console.print(f"  {line}", highlight=False, markup=False)


def _cell(need_gib: float | None, fits: bool | None) -> str:
    if need_gib is None:
        return "unknown"
    return f"[green]{need_gib:.2f}[/green]" if fits else f"[red]{need_gib:.2f} no[/red]"


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flmm_ros.cli.doctor",
        description="What this machine can run, and what stands in the way.",
        epilog="Exit status: 0 nothing is wrong, 1 something is, 2 wrong arguments.",
    )
    parser.add_argument("--model", help="look at this model only: name, YAML file or directory")
    parser.add_argument("--image-topic", default="image", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    try:
        found = examine(args.model, args.image_topic)
    except FlmmError as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 2
    if args.json:
        content: dict[str, Any] = dataclasses.asdict(found)
        print(json.dumps(content, indent=1))
    else:
        show(found, Console())
    is_model_ready = any(model.is_ready for model in found.models)
    return 0 if is_model_ready and found.ros.is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
