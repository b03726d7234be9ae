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

"""What a run says before it starts, and once it knows its own pace: parameters, memory, hours."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from torch import nn

from training.disk import size_text
from training.loop.order import SampleOrder

PACE_STEPS = 5  # after which memory and pace are reported; the first step is left out


def parameter_count(module: nn.Module | None, *, trained: bool) -> int:
    """Parameters that are trained, or that are not."""
    if module is None:
        return 0
    return sum(p.numel() for p in module.parameters() if p.requires_grad == trained)


def memory_bytes(device: torch.device) -> int:
    """Most memory so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def beginning(
    console: Console,
    heads: nn.Module,
    lmm: nn.Module | None,
    order: SampleOrder,
    steps: int,
    averaged: bool,
) -> None:
    """What is trained on what, and what that needs before the first step."""
    trained = parameter_count(heads, trained=True)
    frozen = parameter_count(heads, trained=False) + parameter_count(lmm, trained=False)
    held = sum(p.numel() * p.element_size() for m in (heads, lmm) if m for p in m.parameters())
    learning = trained * 4 * (3 + averaged)  # gradients and AdamW's two averages, in float32
    table = Table(show_header=False, title="training")
    table.add_row("trained parameters", f"{trained:,}")
    table.add_row("frozen parameters", f"{frozen:,}" + ("" if lmm else " (the rest is cached)"))
    table.add_row("memory of weights", size_text(held))
    table.add_row("memory of gradients and optimizer", size_text(learning))
    table.add_row("samples", f"{order.count:,}")
    table.add_row(
        "samples a step",
        f"{order.samples_a_step} ({order.batch} a forward x {order.accumulate} forwards x "
        f"{order.processes} processes)",
    )
    table.add_row("steps", f"{steps:,} ({order.steps_an_epoch:,} an epoch)")
    console.print(table)


@dataclass
class PaceReport:
    """Measures steps and tells once what the run will take."""

    console: Console
    device: torch.device
    samples_a_step: int
    started: float = 0.0
    steps: int = 0
    waited_s: float = 0.0

    def step(self, left: int, waited_s: float) -> None:
        """After a step; `left` are still to come. waited_s: for the data, in this step."""
        self.steps += 1
        if self.steps == 1:  # the first one warms up
            self.started = time.perf_counter()
            return
        self.waited_s += waited_s
        if self.steps != PACE_STEPS:
            return
        spent = time.perf_counter() - self.started
        seconds = spent / (PACE_STEPS - 1)
        self.console.print(
            f"pace: {self.samples_a_step / seconds:.2f} samples a second, {seconds:.2f} s a step, "
            f"{100 * self.waited_s / spent:.0f} % of it waiting for data; "
            f"{left * seconds / 3600:.1f} h to go; "
            f"most memory {size_text(memory_bytes(self.device))}"
        )


@contextmanager
def progress_bar(
    console: Console, title: str, done: int, total: int, *, shown: bool
) -> Iterator[Callable[[int, str], None]]:
    """A bar with the time that is left; what it gives is called with what is done and a text."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not shown,
    )
    with bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda now, text: bar.update(task, completed=now, description=text)
