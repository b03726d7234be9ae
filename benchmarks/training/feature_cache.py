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

"""What a feature cache brings: epochs with the frozen parts and epochs from the disk, in turns.

    python -m benchmarks.training.feature_cache config/training/tabletop.yaml
    python -m benchmarks.training.feature_cache config/training/tabletop.yaml --random-model

Both runs begin with the same heads and take the same samples in the same order; they take turns
block by block, so that a change of the machine's speed affects both. Then both are measured on the
validation data, and so is a third run, from the disk with another seed: how far apart runs are
anyway. With --random-model the frozen parts cost what real ones do, in proportion to the heads, and
the measures mean nothing.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.training.random_model import write_random_model
from flmm_ros.cli.command_line import run_command
from training.disk import size_text
from training.features.build import make
from training.loop.report import progress_bar
from training.loop.run import TrainingRun, prepare
from training.recipe import Recipe, RecipeArgument, RecipeSettings, load_recipe
from training.train import forwards, step, validate

BLOCKS = 4  # an epoch is cut into


@dataclass(frozen=True)
class Paired:
    """live_s, cached_s: seconds of every block, in pairs of the same samples. steps_an_epoch and
    steps_a_block; measured: of the runs "live", "cached" and "cached, another seed"; cache_bytes
    and cache_s: what the cache takes and took to make."""

    live_s: tuple[float, ...]
    cached_s: tuple[float, ...]
    steps_a_block: int
    steps_an_epoch: int
    measured: dict[str, dict[str, float]]
    cache_bytes: int
    cache_s: float

    @property
    def ratio(self) -> float:
        """How many times faster the epochs from the disk are: the median over pairs."""
        pairs = zip(self.live_s, self.cached_s, strict=True)
        return statistics.median(live / cached for live, cached in pairs)

    def epoch_s(self, blocks_s: Sequence[float]) -> float:
        """Seconds of an epoch, from its blocks."""
        return statistics.mean(blocks_s) * self.steps_an_epoch / self.steps_a_block


class Blocks:
    """A run that goes on a block of steps at a time."""

    def __init__(self, recipe: Recipe) -> None:
        self.run: TrainingRun = prepare(recipe)
        self._left = forwards(self.run)

    def go(self, steps: int) -> float:
        """Seconds of the next steps, waiting for data included."""
        started = time.perf_counter()
        for _ in range(steps):
            batches, _waited_s = next(self._left)
            step(self.run, batches)
            self.run.done += 1
        return time.perf_counter() - started

    def measured(self) -> dict[str, float]:
        """On the validation data."""
        if len(self.run.parts.validation):
            validate(self.run, None)
        return self.run.measured


def paired(recipe: Recipe, epochs: int, console: Console | None = None) -> Paired:
    """Trains twice in turns, live and cached, and once more with another seed."""
    console = console or Console(stderr=True)
    out = Path(recipe.out)
    cached = dataclasses.replace(
        recipe, epochs=epochs, max_steps=0, cache=recipe.cache or str(out / "cache")
    )
    made = make(cached, console)
    live = Blocks(dataclasses.replace(cached, cache="", out=str(out / "live")))
    disk = Blocks(dataclasses.replace(cached, out=str(out / "cached")))
    other = Blocks(dataclasses.replace(cached, seed=recipe.seed + 1, out=str(out / "other")))
    steps_an_epoch = live.run.order.steps_an_epoch
    block = max(1, steps_an_epoch // BLOCKS)
    count = epochs * steps_an_epoch // block
    seconds: dict[Blocks, list[float]] = {live: [], disk: []}
    with progress_bar(console, "live and cached in turns", 0, count, shown=True) as tell:
        for number in range(count):
            for each in (live, disk) if number % 2 else (disk, live):
                seconds[each].append(each.go(block))
            tell(number + 1, "live and cached in turns")
    other.go(count * block)
    measured = {"live": live, "cached": disk, "cached, another seed": other}
    return Paired(
        tuple(seconds[live][1:]),  # the first pair warms up
        tuple(seconds[disk][1:]),
        block,
        steps_an_epoch,
        {name: each.measured() for name, each in measured.items()},
        made.bytes,
        made.seconds,
    )


def told(found: Paired) -> Table:
    """For people."""
    table = Table(title=f"an epoch from the cache is {found.ratio:.1f} times as fast")
    for head in ("", "s an epoch", "cIoU", "mIoU"):
        table.add_column(head)
    spent = {"live": found.live_s, "cached": found.cached_s}
    for name, measured in found.measured.items():
        blocks = spent.get(name, ())
        table.add_row(
            name,
            f"{found.epoch_s(blocks):.1f}" if blocks else "",
            *(f"{measured[key]:.4f}" if key in measured else "" for key in ("cIoU", "mIoU")),
        )
    pairs = [live / cached for live, cached in zip(found.live_s, found.cached_s, strict=True)]
    table.caption = (
        f"{len(pairs)} pairs of {found.steps_a_block} steps, {min(pairs):.1f} to {max(pairs):.1f} "
        f"times as fast; cache {size_text(found.cache_bytes)}, made in {found.cache_s:.0f} s"
    )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m benchmarks.training.feature_cache`; returns the exit status."""
    return run_command(_feature_cache, argv, "python -m benchmarks.training.feature_cache")


def _feature_cache(
    recipe: RecipeArgument,
    settings: RecipeSettings = [],  # noqa: B006  Typer copies it
    epochs: Annotated[int, typer.Option(min=1, help="Of each run.")] = 2,
    is_random: Annotated[
        bool, typer.Option("--random-model", help="Frozen parts that cost what real ones do.")
    ] = False,
) -> None:
    """Compare epochs with the frozen parts with epochs from a feature cache."""
    with tempfile.TemporaryDirectory() as folder:
        replaced = [*settings, f"out={folder}/run"]
        if is_random:
            replaced.append(f"model={write_random_model(Path(folder) / 'model')}")
        found = paired(load_recipe(recipe, replaced), epochs)
    Console().print(told(found))


if __name__ == "__main__":
    sys.exit(main())
