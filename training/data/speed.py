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

"""How fast samples come from disk: tells when the loader, and not the GPU, will be the limit.

python -m training.data speed data --set png --split val --count 500
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from training.data.registry import open_data
from training.data.rle import DataError
from training.data.sample import read_sample


@dataclass(frozen=True)
class LoadingSpeed:
    """Of one process: seconds to open the split; then per sample, with its image and its masks
    decoded, seconds on the clock and of the processor, and phrases."""

    samples: int
    open_s: float
    clock_s: float
    processor_s: float
    phrases: float


def measure(root: Path, name: str, split: str, count: int) -> LoadingSpeed:
    """Reads `count` samples, spread over the split; a small split several times.

    Raises:
        DataError: none of them can be read.
    """
    begun = time.perf_counter()
    data = open_data(name, root, split)
    open_s = time.perf_counter() - begun
    step = max(len(data) // count, 1)
    samples = phrases = 0
    clock, processor = time.perf_counter(), time.process_time()
    for number in track(range(count), f"reading {name}/{split}", transient=True):
        read = read_sample(data, number * step % len(data))
        if read is not None:
            for phrase in read[0].phrases:
                phrase.mask.decode()
                phrases += 1
            samples += 1
    if samples == 0:
        raise DataError(f"{name}/{split}: none of {count} samples can be read")
    return LoadingSpeed(
        samples,
        open_s,
        (time.perf_counter() - clock) / samples,
        (time.process_time() - processor) / samples,
        phrases / samples,
    )


def speed_command(
    root: Annotated[Path, typer.Argument(help="The folder with annotations/, train2014/, ...")],
    name: Annotated[str, typer.Option("--set", help="Name of the data set.")],
    split: Annotated[str, typer.Option(help="Split of it.")] = "train",
    count: Annotated[int, typer.Option(help="Samples to read.")] = 200,
) -> None:
    """Measure how fast samples come from disk in one process."""
    if count < 1:
        raise DataError(f"--count: expected 1 or more, got {count}")
    speed = measure(root, name, split, count)
    print(
        f"opened in {speed.open_s:.1f} s; {speed.samples:,} samples with {speed.phrases:.1f} "
        f"phrases each: {speed.clock_s * 1e3:.1f} ms a sample ({speed.processor_s * 1e3:.1f} ms of "
        f"the processor), {1 / speed.clock_s:.0f} samples a second and process"
    )
