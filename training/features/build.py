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

"""Makes a feature cache: the frozen parts look at every sample once, training then reads the disk.

    python -m training.features config/training/refcoco_png.yaml cache=/data/features
    torchrun --nproc-per-node 8 -m training.features config/training/refcoco_png.yaml cache=...

Says first how much disk it takes and refuses where there is less. May be stopped and started again,
with any number of processes: what is there stays, what is missing or has changed is made.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from flmm_ros.cli.command_line import run_command
from flmm_ros.cli.plain_console import plain_console
from flmm_ros.engine.errors import ConfigError, PromptError
from training.data.sample import BrokenSampleError
from training.disk import require_writable, size_text
from training.features.cached import about_model, digest_of
from training.features.disk_estimate import require_disk
from training.features.frozen import FrozenReader
from training.features.packing import Precision, packed
from training.features.ready_samples import (
    FrozenSource,
    ReadySample,
    ReadySamples,
    opened,
    start_worker,
    usable_phrases,
)
from training.features.store import FeatureError, FeatureStore, FeatureWriter
from training.loop.assembly import accelerator_of, assemble
from training.loop.report import progress_bar
from training.recipe import Recipe, RecipeArgument, RecipeSettings, load_recipe

SHOWN = 10  # samples that were left out


class MissingSamples(Dataset[Any]):
    """Samples a store does not have yet, ready by number; others are None, broken ones (key,
    reason)."""

    def __init__(self, samples: ReadySamples, source: FrozenSource, store: FeatureStore) -> None:
        self.samples, self.source, self.store = samples, source, store

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> ReadySample | tuple[str, str] | None:
        try:
            sample = self.samples.sample(index)
        except BrokenSampleError as error:
            return error.key, error.reason
        if sample.key in self.store and self.store.digest(sample.key) == digest_of(sample):
            return None
        phrases = usable_phrases(sample, absent=True)
        if not phrases:
            return sample.key, "no phrase that can be learned from"
        try:
            return self.source.ready(sample, phrases)
        except (BrokenSampleError, PromptError) as error:
            return sample.key, str(error)


def _tell_whole(console: Console, store: FeatureStore) -> None:
    console.print(
        f"{len(store)} records, {size_text(store.bytes_on_disk)}; "
        f"{len(store.skipped)} samples left out"
    )
    for key, reason in list(store.skipped.items())[:SHOWN]:
        console.print(f"  {key}: {reason}")


@dataclass(frozen=True)
class CacheBuild:
    """Records written by one process, samples left out, bytes and seconds."""

    records: int
    skipped: int
    bytes: int
    seconds: float


def make(recipe: Recipe, console: Console | None = None) -> CacheBuild:
    """Makes what is missing of a recipe's cache.

    Raises:
        ConfigError: the recipe names no cache, or trains the image encoder.
        FeatureError: too little disk, or the folder holds something else.
    """
    console = console or plain_console(stderr=True)
    if not recipe.cache:
        raise ConfigError("cache: expected a folder to make the cache in, got none; cache=FOLDER")
    folder = Path(recipe.cache)
    require_writable(folder)
    accelerator = accelerator_of(recipe)
    parts = assemble(dataclasses.replace(recipe, cache=""), accelerator.device)
    heads = parts.heads.to(accelerator.device).eval()
    source, reader = parts.train.source, parts.reader
    if not isinstance(source, FrozenSource) or reader is None:
        raise ConfigError("features: expected the frozen parts themselves, got a cache")
    kept = Precision(recipe.cache_maps, recipe.cache_states, recipe.cache_features)
    data = opened([*recipe.data, *recipe.validation], recipe.data_root)
    if accelerator.is_main_process:
        require_disk(console, data, source, recipe, kept)
    accelerator.wait_for_everyone()
    store = FeatureStore.create(
        folder, about_model(recipe, parts.model, source.lmm, heads.mask_refiner)
    )
    if accelerator.is_main_process:
        for name, reason in store.lost.items():
            console.print(f"made again: {name}: {reason}")
    samples = ReadySamples(data, source, parts.train.drawing)
    made = _write(
        accelerator, recipe, MissingSamples(samples, source, store), reader, kept, console
    )
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        whole = FeatureStore.open(folder)
        whole.forget(set(whole.lost))  # garbled lines and parts that are gone: all is made again
        whole.finish()
        _tell_whole(console, whole)
    accelerator.end_training()
    return made


def _write(
    accelerator: Any,
    recipe: Recipe,
    missing: MissingSamples,
    reader: FrozenReader,
    kept: Precision,
    console: Console,
) -> CacheBuild:
    """This process's share."""
    rank, processes = accelerator.process_index, accelerator.num_processes
    mine = list(range(rank, len(missing), processes))
    rounds = math.ceil(math.ceil(len(missing) / processes) / recipe.batch)
    batches = [mine[n * recipe.batch : (n + 1) * recipe.batch] for n in range(rounds)]
    loader = DataLoader(
        missing,
        batch_sampler=batches,
        num_workers=recipe.workers,
        collate_fn=list,
        multiprocessing_context="fork" if recipe.workers else None,
        worker_init_fn=start_worker,
    )
    records = skipped = written = 0
    spare: list[ReadySample] = []
    started = time.perf_counter()
    with (
        FeatureWriter(missing.store, rank) as writer,
        progress_bar(console, "reading", 0, rounds, shown=accelerator.is_main_process) as tell,
    ):
        for number, found in enumerate(loader):
            ready = [each for each in found if isinstance(each, ReadySample)]
            for key, reason in (each for each in found if isinstance(each, tuple)):
                writer.skip(key, reason)
                skipped += 1
            if not ready and recipe.lmm_sharding == "fsdp":  # all processes read equally often
                ready = spare or [_any_ready(missing)]
                reader.read([each.given for each in ready if each.given is not None])
                continue
            for each, size in _written(writer, reader, ready, kept):
                spare, records, written = [each], records + 1, written + size
            tell(number + 1, f"reading, {size_text(written)}")
    return CacheBuild(records, skipped, written, time.perf_counter() - started)


def _written(
    writer: FeatureWriter, reader: FrozenReader, ready: Sequence[ReadySample], kept: Precision
) -> list[tuple[ReadySample, int]]:
    """Reads samples in one forward and writes their records; each with its bytes."""
    given = [each.given for each in ready if each.given is not None]
    if not given:
        return []
    done = []
    for each, reading in zip(ready, reader.read(given), strict=True):
        phrases = usable_phrases(each.sample, absent=True)
        tensors = packed(reading, kept) | {"phrases": torch.tensor(phrases, dtype=torch.int32)}
        done.append((each, writer.add(each.sample.key, tensors, digest_of(each.sample))))
    return done


def _any_ready(missing: MissingSamples) -> ReadySample:
    """Some sample that can be read, whether or not the store has it."""
    for index in range(len(missing)):
        try:
            sample = missing.samples.sample(index)
            return missing.source.ready(sample, usable_phrases(sample, absent=True)[:1])
        except (BrokenSampleError, PromptError, ValueError):
            continue
    raise FeatureError("features: expected at least one usable sample, got none")


def verify(folder: Path, *, repair: bool, console: Console | None = None) -> int:
    """Reads a whole cache against its checksums; how many records are damaged.

    repair: forget them, so that making the cache again makes them again.
    """
    console = console or plain_console(stderr=True)
    store = FeatureStore.open(folder)
    damaged = []
    count = len(store) + len(store.lost)
    with progress_bar(console, "verifying", 0, count, shown=True) as tell:
        for number, (key, reason) in enumerate(store.damaged(), start=1):
            if reason:
                damaged.append(key)
                console.print(f"{key}: {reason}" if key in store.lost else reason)
            tell(number, f"{len(damaged)} damaged")
    if repair:
        store.forget(set(damaged))
    return len(damaged)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m training.features`; returns the exit status."""
    return run_command(_features, argv, "python -m training.features")


def _features(
    recipe: RecipeArgument,
    settings: RecipeSettings = [],  # noqa: B006  Typer copies it
    is_verified: Annotated[
        bool, typer.Option("--verify", help="Compare all checksums, make nothing.")
    ] = False,
    is_repaired: Annotated[
        bool, typer.Option("--repair", help="Like --verify, and forget what is damaged.")
    ] = False,
) -> int:
    """Make a feature cache, or check one."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = plain_console(stderr=True)
    found = load_recipe(recipe, settings)
    if not (is_verified or is_repaired):
        make(found, console)
        return 0
    damaged = verify(Path(found.cache), repair=is_repaired, console=console)
    console.print(f"{damaged} damaged records")
    return 1 if damaged and not is_repaired else 0


if __name__ == "__main__":
    sys.exit(main())
