"""How fast samples come from disk: tells when the loader, and not the GPU, will be the limit.

    python -m training.data speed data --set png --split val --count 500

Does not know about: file formats, models.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from training.data.registry import open_data
from training.data.rle import DataError
from training.data.sample import read_sample


@dataclass(frozen=True)
class Speed:
    """Of one process: seconds to open the split; then per sample, with its image and its masks
    decoded, seconds on the clock and of the processor, and phrases."""

    samples: int
    open_s: float
    clock_s: float
    processor_s: float
    phrases: float


def measure(root: Path, name: str, split: str, count: int) -> Speed:
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
    return Speed(
        samples,
        open_s,
        (time.perf_counter() - clock) / samples,
        (time.process_time() - processor) / samples,
        phrases / samples,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command `speed`."""
    parser.add_argument("root", type=Path, help="the folder with annotations/, train2014/, ...")
    parser.add_argument("--set", required=True, help="name of the data set")
    parser.add_argument("--split", default="train", help="default: train")
    parser.add_argument("--count", type=int, default=200, help="samples to read (default: 200)")


def run(options: argparse.Namespace, console: Console) -> int:
    """The command: prints what one process manages."""
    if options.count < 1:
        raise DataError(f"--count: expected 1 or more, got {options.count}")
    speed = measure(options.root, options.set, options.split, options.count)
    console.print(
        f"opened in {speed.open_s:.1f} s; {speed.samples:,} samples with {speed.phrases:.1f} "
        f"phrases each: {speed.clock_s * 1e3:.1f} ms a sample ({speed.processor_s * 1e3:.1f} ms of "
        f"the processor), {1 / speed.clock_s:.0f} samples a second and process",
        highlight=False,
    )
    return 0
