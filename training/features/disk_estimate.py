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

"""How much disk a feature cache takes, told before anything is made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flmm_ros.engine.errors import PromptError
from training.data.sample import BrokenSampleError, DataSet
from training.disk import size_text
from training.features.packing import Precision, ReadingShape
from training.features.ready_samples import FrozenSource, usable_phrases
from training.features.store import FeatureError
from training.recipe import Recipe

LOOKED_AT = 200  # samples of a data set that it is reckoned from


@dataclass(frozen=True)
class DiskEstimate:
    """Disk for one data set: name, samples, mean phrases, mean tokens of a sample's phrases, mean
    tokens of its answer, and bytes in all."""

    name: str
    samples: int
    phrases: float
    phrase_tokens: float
    tokens: float
    bytes: int


def estimated(
    data: DataSet, source: FrozenSource, shape: ReadingShape, kept: Precision
) -> DiskEstimate:
    """What a data set will take, from some of its samples."""
    count = min(len(data), LOOKED_AT)
    found: list[tuple[int, int, int]] = []
    for n in range(count):
        try:
            sample = data[n * len(data) // count]
            phrases = usable_phrases(sample, absent=True)
            spans = [sample.phrases[n].text_span for n in phrases]
            prompt = sample.prompt_for(source.lmm.config.prompt)
            suffix = source.lmm.text().reading(prompt, sample.text, spans)
        except (BrokenSampleError, PromptError):
            continue
        words = sum(stop - start for start, stop in suffix.spans)
        found.append((len(phrases), words, len(suffix.ids)))
    if not found:
        raise FeatureError(f"{data.name}: expected usable samples, got none among {count}")
    total = sum(shape.bytes_of(*each, kept) for each in found)
    phrases_mean, words_mean, tokens = (sum(each) / len(found) for each in zip(*found, strict=True))
    return DiskEstimate(
        f"{data.name}:{data.split}",
        len(data),
        phrases_mean,
        words_mean,
        tokens,
        round(total * len(data) / len(found)),
    )


def shape_of(source: FrozenSource, recipe: Recipe) -> ReadingShape:
    """What one sample's reading holds; the grid is that of a 4:3 image."""
    lmm, refiner = source.lmm, source.refiner
    grid = lmm.views((480, 640))[-1].grid_hw
    side = refiner.grid
    return ReadingShape(
        lmm.shape.map_channels,
        grid,
        lmm.shape.layers,
        lmm.shape.width,
        (refiner.shape.hidden, side, side),
        answers=recipe.selector_weight > 0,
    )


def told(
    estimates: Sequence[DiskEstimate], shape: ReadingShape, kept: Precision, folder: Path
) -> Table:
    """The arithmetic for people."""
    table = Table(title=f"feature cache {folder}")
    for head in ("data", "samples", "phrases", "their tokens", "bytes a sample", "disk"):
        table.add_column(head)
    for each in estimates:
        table.add_row(
            each.name,
            f"{each.samples:,}",
            f"{each.phrases:.1f}",
            f"{each.phrase_tokens:.1f}",
            size_text(each.bytes / max(each.samples, 1)),
            size_text(each.bytes),
        )
    table.add_row("all", "", "", "", "", size_text(sum(each.bytes for each in estimates)))
    table.caption = (
        f"maps {shape.channels} x {shape.grid_hw[0]}x{shape.grid_hw[1]} a phrase ({kept.maps}), "
        f"states {shape.layers} x {shape.width} a token ({kept.states}), features "
        f"{'x'.join(map(str, shape.features))} an image ({kept.features}); "
        f"free here: {size_text(shutil.disk_usage(folder).free)}"
    )
    return table


def require_disk(
    console: Console,
    data: Sequence[DataSet],
    source: FrozenSource,
    recipe: Recipe,
    kept: Precision,
) -> None:
    """Says what the cache will take.

    Raises:
        FeatureError: there is less.
    """
    folder, shape = Path(recipe.cache), shape_of(source, recipe)
    estimates = [estimated(each, source, shape, kept) for each in data]
    console.print(told(estimates, shape, kept, folder))
    needed = sum(each.bytes for each in estimates)
    there = sum(path.stat().st_size for path in folder.glob("part-*.data"))
    free = shutil.disk_usage(folder).free
    if needed - there > free:
        raise FeatureError(
            f"{folder}: expected {size_text(needed - there)} free, got {size_text(free)}; choose "
            "another disk, cache_maps=8bit cache_states=8bit cache_features=8bit, or fewer data"
        )
