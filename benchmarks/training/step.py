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

"""What a training step of a 7B model takes on a GPU: seconds and memory, with random weights.

    python -m benchmarks.training.step --device cuda                   # LLaVA-1.5-7B, SAM's ViT-L
    python -m benchmarks.training.step --device cuda --model llava_next_7b --batches 1,2
    python -m benchmarks.training.step --quick                         # tiny, on a CPU

Time and memory follow from shapes, so the weights are random and the photos noise of 640x480 with
six phrases each, as RefCOCO's. The frozen parts, the heads forward and backward, and the optimizer
are timed apart: what a feature cache leaves is the last two.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.engine.benchmark import NAMES, shape_of
from benchmarks.engine.models import PHRASES, PROMPT, build
from benchmarks.engine.rounds import IMAGE_HW, picture
from benchmarks.machine import describe_machine
from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.errors import ConfigError
from training.features.frozen import FrozenReader
from training.features.readings import SampleTruth
from training.features.ready_samples import FrozenInput
from training.heads.objective import LossWeights, Objective

PHRASES_A_PHOTO = 6
MODELS = tuple(name for group in NAMES.values() for name in group)
WARM_UP = 2  # steps that are not counted


@dataclass(frozen=True)
class StepCost:
    """Medians over steps of `batch` photos, seconds of the whole batch. lmm and encoder: of the
    frozen parts; heads: forward and backward; update: clipping and AdamW. peak_mib: the most that
    was in use, model included; model_mib: of the loaded model alone. Both 0 on a CPU."""

    batch: int
    lmm_s: float
    encoder_s: float
    heads_s: float
    update_s: float
    model_mib: float
    peak_mib: float

    @property
    def sample_s(self) -> float:
        """Seconds a photo."""
        return (self.lmm_s + self.encoder_s + self.heads_s + self.update_s) / self.batch

    @property
    def cached_sample_s(self) -> float:
        """Seconds a photo where a cache stands for the frozen parts, the disk's own left out."""
        return (self.heads_s + self.update_s) / self.batch


class Stopwatch:
    """Seconds between calls, the device's work included."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._last = self._now()

    def lap(self) -> float:
        """Since the last call."""
        before, self._last = self._last, self._now()
        return self._last - before

    def _now(self) -> float:
        if self._is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


class StepBenchmark:
    """A model of random weights and what trains its heads."""

    def __init__(self, name: str, device: str, *, is_quick: bool) -> None:
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        grounder = build(shape_of(name, is_quick=is_quick), device, dtype)
        self.lmm, self.heads = grounder.lmm, grounder.heads
        self.device = self.lmm.device
        if not isinstance(self.heads, torch.nn.Module):
            raise TypeError(f"expected heads in torch, got {type(self.heads).__name__}")
        refiner: Any = self.heads.mask_refiner
        self.reader = FrozenReader(self.lmm, refiner, self.device)
        self.heads.requires_grad_(True)
        refiner.image_encoder.requires_grad_(False)
        on_gpu = self.device.type == "cuda"
        dtype = torch.bfloat16 if on_gpu else torch.float32
        self.objective = Objective(self.heads, LossWeights(), dtype=dtype)  # type: ignore[arg-type]
        self.trained = [p for p in self.objective.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, 1e-4)

    def given(self, number: int) -> FrozenInput:
        """A photo of noise and its phrases in one answer, ready for the frozen parts."""
        words = PHRASES[:PHRASES_A_PHOTO]
        text, spans = "", []
        for phrase in words:
            text += ". " if text else ""
            spans.append((len(text), len(text) + len(phrase)))
            text += phrase
        suffix = self.lmm.text().reading(PROMPT, text, [(0, len(text)), *spans])
        image = picture(number)
        return FrozenInput(
            self.lmm.prepare(image),
            self.reader.refiner.pixels([image])[0],
            IMAGE_HW,
            suffix.ids,
            suffix.spans[1:],
            suffix.spans[0],
            torch.zeros(suffix.spans[0][1] - suffix.spans[0][0]),
        )

    def truth(self, number: int) -> SampleTruth:
        """A rectangle a phrase."""
        rng = np.random.default_rng(number)
        masks = torch.zeros(PHRASES_A_PHOTO, *IMAGE_HW, dtype=torch.bool)
        for mask in masks:
            y, x = (int(rng.integers(0, side // 2)) for side in IMAGE_HW)
            mask[y : y + IMAGE_HW[0] // 3, x : x + IMAGE_HW[1] // 3] = True
        return SampleTruth(f"photo {number}", PHRASES[:PHRASES_A_PHOTO], masks).to(self.device)

    def cost(self, batch: int, steps: int) -> StepCost:
        """Steps of `batch` photos. Photos are prepared beforehand: workers do that."""
        on_gpu = self.device.type == "cuda"
        given = [self.given(n) for n in range(batch)]
        truths = [self.truth(n) for n in range(batch)]
        model_mib = torch.cuda.memory_allocated() / 2**20 if on_gpu else 0.0
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        laps = [self._step(given, truths) for _ in range(WARM_UP + steps)][WARM_UP:]
        peak_mib = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0.0
        lmm_s, encoder_s, heads_s, update_s = (
            statistics.median(lap) for lap in zip(*laps, strict=True)
        )
        return StepCost(batch, lmm_s, encoder_s, heads_s, update_s, model_mib, peak_mib)

    def _step(
        self, given: Sequence[FrozenInput], truths: Sequence[SampleTruth]
    ) -> tuple[float, float, float, float]:
        """Seconds of language model, image encoder, heads and update."""
        watch = Stopwatch(self.device)
        blind = dataclasses.replace(self.reader, see_images=False)
        readings = blind.read(given)
        lmm_s = watch.lap()
        pixels = torch.stack([each.pixels for each in given]).to(self.device)
        with torch.no_grad():
            features = self.reader.refiner.features(pixels)
        encoder_s = watch.lap()
        seen = [
            dataclasses.replace(r, features=f, pixels=None)
            for r, f in zip(readings, features, strict=True)
        ]
        self.optimizer.zero_grad()
        self.objective.total(self.objective(seen, truths).losses).backward()
        heads_s = watch.lap()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return lmm_s, encoder_s, heads_s, watch.lap()


def told(name: str, costs: Sequence[StepCost]) -> Table:
    """For people."""
    table = Table(title=f"{name}, random weights, {PHRASES_A_PHOTO} phrases a photo; ms a photo")
    table.add_column("")
    for cost in costs:
        table.add_column(f"batch {cost.batch}", justify="right")
    rows: dict[str, Callable[[StepCost], str]] = {
        "language model, frozen": lambda c: f"{1e3 * c.lmm_s / c.batch:.1f}",
        "SAM's image encoder, frozen": lambda c: f"{1e3 * c.encoder_s / c.batch:.1f}",
        "heads, forward and backward": lambda c: f"{1e3 * c.heads_s / c.batch:.1f}",
        "clipping and AdamW": lambda c: f"{1e3 * c.update_s / c.batch:.1f}",
        "together": lambda c: f"{1e3 * c.sample_s:.1f}",
        "from a feature cache": lambda c: f"{1e3 * c.cached_sample_s:.1f}",
        "model, MiB": lambda c: f"{c.model_mib:.0f}",
        "most in use, MiB": lambda c: f"{c.peak_mib:.0f}",
    }
    for title, cell in rows.items():
        table.add_row(title, *(cell(cost) for cost in costs))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m benchmarks.training.step`; returns the exit status."""
    return run_command(_step, argv, "python -m benchmarks.training.step")


def _step(
    model: Annotated[str, typer.Option(help=f"One of {', '.join(MODELS)}.")] = "llava_7b",
    batches: Annotated[str, typer.Option(help="Photos a step.")] = "1,4",
    steps: Annotated[int, typer.Option(help="Of each, two more before them.")] = 8,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    is_quick: Annotated[bool, typer.Option("--quick", help="A tiny model: does it run?")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Where to write the numbers.")
    ] = None,
) -> None:
    """Measure seconds and memory of a training step, with random weights."""
    if model not in MODELS:
        raise ConfigError(f"--model: expected one of {', '.join(MODELS)}, got {model!r}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("device: expected a GPU, got a machine without; use --device cpu")
    bench = StepBenchmark(model, device, is_quick=is_quick)
    costs = []
    for batch in map(int, batches.split(",")):
        try:
            costs.append(bench.cost(batch, steps))
        except torch.OutOfMemoryError as error:  # what is measured already is still worth telling
            print(f"batch {batch}: {str(error).splitlines()[0]}", file=sys.stderr)
            break
    Console(width=100).print(told(model, costs))
    if json_file:
        content = {
            "machine": describe_machine(device),
            "settings": {"model": model, "steps": steps, "quick": is_quick},
            "costs": [dataclasses.asdict(cost) for cost in costs],
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
