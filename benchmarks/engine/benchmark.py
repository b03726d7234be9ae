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

"""Time and memory of the engine, beside a straightforward implementation in the same run.

Two language models with random weights, 12 layers of width 1024: LLaVA-1.5's 576 image tokens and
LLaVA-NeXT's 2,340. The heads are those of the original in size, SAM's image encoder is small enough
for a CPU; both sides use the same. With the shape "7b" they are LLaVA-1.5-7B and LLaVA-NeXT-7B in
all their parts, SAM's ViT-L included; the weights are random, so time and memory are real and
answers are not. Peak memory is measured in a fresh process each on a CPU, by torch on a GPU.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import Progress, TaskID

from benchmarks.engine.memory import ALLOCATOR, MEMORY_WAYS, measure_peak_mib
from benchmarks.engine.models import SHAPES, TINY_TOWER, Shape, build
from benchmarks.engine.report import report
from benchmarks.engine.rounds import measure_commands, measure_forwards
from benchmarks.engine.rows import ModelMeasurement
from benchmarks.engine.timing import Seconds
from benchmarks.machine import describe_machine
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.refiner_shape import SamVitShape

NAMES = {"12-layer": ("llava", "llava_next"), "7b": ("llava_7b", "llava_next_7b")}


@dataclass(frozen=True)
class BenchmarkSettings:
    """What is measured. rounds: of the smaller model. threads: of the CPU. shape: out of NAMES.
    is_quick: tiny models, only whether it runs. has_warm_up: one round more, not counted."""

    rounds: int = 3
    threads: int = 1
    device: str = "cpu"
    shape: str = "12-layer"
    is_quick: bool = False
    has_warm_up: bool = False


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


def grounder_of(name: str, settings: BenchmarkSettings) -> Grounder:
    """The model to measure, on the device to measure it on."""
    dtype = torch.bfloat16 if settings.device.startswith("cuda") else torch.float32
    return build(shape_of(name, is_quick=settings.is_quick), settings.device, dtype)


def rounds_of(name: str, settings: BenchmarkSettings) -> int:
    """How often a model is measured: the larger one takes three times as long."""
    return max(1, settings.rounds // 3) if name.startswith("llava_next") else settings.rounds


def measure(
    name: str, settings: BenchmarkSettings, progress: Progress, task: TaskID
) -> ModelMeasurement:
    """Everything about one model."""
    grounder = grounder_of(name, settings)
    on_gpu, peaks = grounder.lmm.device.type == "cuda", {}
    for way in MEMORY_WAYS if on_gpu else ():  # first: later its images would be remembered
        progress.update(task, description=f"{name}: memory, {way}")
        peaks[way] = measure_peak_mib(grounder, way)
        progress.advance(task)
    commands: list[dict[str, Seconds]] = []
    forwards: list[dict[str, Seconds]] = []
    for number in range(-1 if settings.has_warm_up else 0, rounds_of(name, settings)):
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
        peaks[way] = peak_in_child(name, way, settings)
        progress.advance(task)
    return ModelMeasurement(
        name, shape_of(name, is_quick=settings.is_quick), commands, forwards, peaks
    )


def peak_in_child(name: str, way: str, settings: BenchmarkSettings) -> float:
    """`measure_peak_mib` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.engine", "--peak-of", name, way]
    command += ["--device", settings.device, "--threads", str(os.cpu_count() or 1)]
    found = subprocess.run(
        command + ["--quick"] * settings.is_quick,
        env=os.environ | ALLOCATOR,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(found.stdout.strip().splitlines()[-1])


def run_benchmark(settings: BenchmarkSettings) -> dict[str, object]:
    """Measures the models of a shape; the JSON of the report."""
    names = NAMES[settings.shape]
    steps = [2 * (rounds_of(n, settings) + settings.has_warm_up) + len(MEMORY_WAYS) for n in names]
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=sum(steps))
        found = [measure(name, settings, progress, task) for name in names]
    written = {key: str(value) for key, value in dataclasses.asdict(settings).items()}
    return report(found, describe_machine(settings.device), written)
