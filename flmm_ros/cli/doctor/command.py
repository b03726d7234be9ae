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

"""`flmm doctor`: what this machine can run, and what stands in the way.

    flmm doctor
    flmm doctor --install
    flmm doctor --model qwen2_5_vl_7b --image-topic /camera/image_raw --json

Nothing is loaded or downloaded. `--install` looks at packages only and needs none of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flmm_ros.cli.command_line import run_command
from flmm_ros.cli.doctor.install import Check, check_install, this_environment

if TYPE_CHECKING:  # what these need may be what is missing
    from rich.console import Console

    from flmm_ros.cli.doctor.models import ModelFacts
    from flmm_ros.cli.doctor.ros_graph import RosFacts

FINE, FOUND_SOMETHING = 0, 1


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


def doctor(
    model: Annotated[
        str | None, typer.Option(help="Look at this model only: name, YAML file or directory.")
    ] = None,
    image_topic: Annotated[str, typer.Option(help="Whose publishers to look at.")] = "image",
    install: Annotated[
        bool, typer.Option("--install", help="Only: is everything installed, and how to get it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Say what this machine can run, and what stands in the way.

    Four looks: the machine and its packages; each model's memory against what is free; what runs
    the heads; ROS, and who publishes the image topic with which QoS.

    Exit status: 0 nothing is wrong, 1 something is (with --model: for that model), 2 wrong
    arguments.
    """
    if install:
        return _report_install(check_install(this_environment()), as_json=as_json)
    found = examine(model, image_topic)
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        from rich.console import Console

        show(found, Console())
    is_model_ready = any(facts.is_ready for facts in found.models)
    return FINE if is_model_ready and found.ros.is_fine else FOUND_SOMETHING


def examine(model: str | None, image_topic: str) -> Findings:
    """Looks at everything; `model` only, or all known ones.

    Raises:
        ConfigError: no such model, or a model file that cannot be read.
    """
    import torch

    from flmm_ros.cli.doctor.machine import machine_facts, onnx_providers, package_versions
    from flmm_ros.cli.doctor.models import model_facts
    from flmm_ros.cli.doctor.ros_graph import look_around
    from flmm_ros.engine.config import known_models
    from flmm_ros.engine.config.model_search import locate_model
    from flmm_ros.engine.runtime.memory import GIB, available

    device = "cuda" if torch.cuda.is_available() else "cpu"
    free = available(device)
    names = [model] if model else known_models()
    return Findings(
        machine=machine_facts(),
        packages=package_versions(),
        providers=onnx_providers(),
        device=device,
        free_gib=round(free / GIB, 1),
        models=tuple(model_facts(locate_model(name), free, name) for name in names),
        ros=look_around(image_topic),
    )


def show(found: Findings, console: Console) -> None:
    """Prints the findings for people."""
    from rich.table import Table

    from flmm_ros.engine.runtime.memory import PRECISIONS

    for title, facts in (("machine", found.machine), ("packages", found.packages)):
        console.print(f"[bold]{title}[/bold]")
        for name, value in facts.items():
            console.print(f"  {name:<16} {value or 'not installed'}", highlight=False, markup=False)
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


def _report_install(checks: Sequence[Check], *, as_json: bool) -> int:
    """One line a package, and what to run for each that is missing."""
    if as_json:
        content: list[dict[str, Any]] = [dataclasses.asdict(check) for check in checks]
        print(json.dumps(content, indent=1))
    else:
        for check in checks:
            mark = "ok" if check.is_fine else "optional" if check.is_optional else "MISSING"
            print(f"{mark:<9} {check.name:<14} {check.text}")
            if check.command:
                print(f"{'':<9} {'':<14} -> {check.command}")
    is_whole = all(check.is_fine or check.is_optional for check in checks)
    return FINE if is_whole else FOUND_SOMETHING


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(doctor, argv)
