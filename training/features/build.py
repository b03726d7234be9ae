"""Makes a feature cache: the frozen parts look at every sample once, training then reads the disk.

    python -m training.features config/training/refcoco_png.yaml cache=/data/features
    torchrun --nproc-per-node 8 -m training.features config/training/refcoco_png.yaml cache=...

Says first how much disk it takes and refuses where there is less. May be stopped and started again,
with any number of processes: what is there stays, what is missing or has changed is made.
Does not know about: losses, how records lie on the disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.data import DataLoader, Dataset

from flmm_ros.engine.errors import ConfigError, FlmmError, PromptError
from training.data.sample import BrokenSampleError
from training.data.samples import FrozenSource, Ready, ReadySamples, opened, usable_phrases
from training.features.cached import about_model, digest_of
from training.features.disk import require_disk
from training.features.frozen import FrozenReader
from training.features.packing import Precision, packed, size_text
from training.features.store import FeatureError, FeatureStore, FeatureWriter
from training.loop.assembly import accelerator_of, assemble
from training.loop.report import progress_bar
from training.recipe import Recipe, load_recipe

SHOWN = 10  # samples that were left out


class Missing(Dataset[Any]):
    """Samples a store does not have yet, ready by number; others are None, broken ones (key,
    reason)."""

    def __init__(self, samples: ReadySamples, source: FrozenSource, store: FeatureStore) -> None:
        self.samples, self.source, self.store = samples, source, store

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Ready | tuple[str, str] | None:
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
class Made:
    """Records written by one process, samples left out, bytes and seconds."""

    records: int
    skipped: int
    bytes: int
    seconds: float


def make(recipe: Recipe, console: Console | None = None) -> Made:
    """Makes what is missing of a recipe's cache.

    Raises:
        ConfigError: the recipe names no cache, or trains the image encoder.
        FeatureError: too little disk, or the folder holds something else.
    """
    console = console or Console(stderr=True)
    if not recipe.cache:
        raise ConfigError("cache: expected a folder to make the cache in, got none; cache=FOLDER")
    accelerator = accelerator_of(recipe)
    parts = assemble(dataclasses.replace(recipe, cache=""), accelerator.device)
    heads = parts.heads.to(accelerator.device).eval()
    source, reader = parts.train.source, parts.reader
    if not isinstance(source, FrozenSource) or reader is None:
        raise ConfigError("features: expected the frozen parts themselves, got a cache")
    kept = Precision(recipe.cache_maps, recipe.cache_states, recipe.cache_features)
    folder = Path(recipe.cache)
    folder.mkdir(parents=True, exist_ok=True)
    data = opened([*recipe.data, *recipe.validation], recipe.data_root)
    if accelerator.is_main_process:
        require_disk(console, data, source, recipe, kept)
    accelerator.wait_for_everyone()
    store = FeatureStore.create(
        folder, about_model(recipe, parts.model, source.lmm, heads.mask_refiner)
    )
    samples = ReadySamples(data, source, parts.train.drawing)
    made = _write(accelerator, recipe, Missing(samples, source, store), reader, kept, console)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        _tell_whole(console, FeatureStore.open(folder))
    accelerator.end_training()
    return made


def _write(
    accelerator: Any,
    recipe: Recipe,
    missing: Missing,
    reader: FrozenReader,
    kept: Precision,
    console: Console,
) -> Made:
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
    )
    records = skipped = written = 0
    spare: list[Ready] = []
    started = time.perf_counter()
    with (
        FeatureWriter(missing.store, rank) as writer,
        progress_bar(console, "reading", 0, rounds, shown=accelerator.is_main_process) as tell,
    ):
        for number, found in enumerate(loader):
            ready = [each for each in found if isinstance(each, Ready)]
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
    return Made(records, skipped, written, time.perf_counter() - started)


def _written(
    writer: FeatureWriter, reader: FrozenReader, ready: Sequence[Ready], kept: Precision
) -> list[tuple[Ready, int]]:
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


def _any_ready(missing: Missing) -> Ready:
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
    console = console or Console(stderr=True)
    store = FeatureStore.open(folder)
    damaged = []
    with progress_bar(console, "verifying", 0, len(store), shown=True) as tell:
        for number, (key, reason) in enumerate(store.damaged(), start=1):
            if reason:
                damaged.append(key)
                console.print(reason)
            tell(number, f"{len(damaged)} damaged")
    if repair:
        store.forget(set(damaged))
    return len(damaged)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0, or 1 with a message, or with the number of damaged records."""
    parser = argparse.ArgumentParser(
        prog="python -m training.features", description="Makes or checks a feature cache."
    )
    parser.add_argument("recipe", help="a file of config/training, or its name")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="replaces a line of it")
    parser.add_argument("--verify", action="store_true", help="compare all checksums, make nothing")
    parser.add_argument(
        "--repair", action="store_true", help="like --verify, and forget what is damaged"
    )
    given = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    console = Console(stderr=True)
    try:
        recipe = load_recipe(given.recipe, given.settings)
        if not (given.verify or given.repair):
            make(recipe, console)
            return 0
        damaged = verify(Path(recipe.cache), repair=given.repair, console=console)
    except FlmmError as error:
        console.print(f"[bold]{error.code}[/]: {error}", markup=True)
        return 1
    console.print(f"{damaged} damaged records")
    return 1 if damaged and not given.repair else 0


if __name__ == "__main__":
    sys.exit(main())
