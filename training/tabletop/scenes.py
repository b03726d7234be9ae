"""Rendered tabletop scenes on disk: drawn once, in parallel, resumable, read back as arrays.

A cache directory holds chunks `SEED.npz` of `CHUNK` consecutive seeds; a chunk is written whole or
not at all, so that an interrupted run goes on where it stopped.
Does not know about: models, text.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from flmm_ros.tools.tabletop import SceneObject, Tabletop

CHUNK = 250


@dataclass(frozen=True)
class SceneSet:
    """B scenes in memory: rgb uint8 [B, H, W, 3], labels uint8 [B, H, W], objects per scene."""

    seeds: NDArray[np.int64]
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    objects: tuple[tuple[SceneObject, ...], ...]

    def __len__(self) -> int:
        return len(self.seeds)

    def first(self, count: int) -> SceneSet:
        """The first `count` scenes."""
        return SceneSet(
            self.seeds[:count], self.rgb[:count], self.labels[:count], self.objects[:count]
        )


def load_scenes(cache: Path, first: int, stop: int, workers: int | None = None) -> SceneSet:
    """Scenes of seeds first..stop-1 (multiples of CHUNK), rendered if they are not there yet."""
    if first % CHUNK or stop % CHUNK or stop <= first:
        raise ValueError(f"expected a seed range in multiples of {CHUNK}, got {first}:{stop}")
    starts = list(range(first, stop, CHUNK))
    missing = [s for s in starts if not _chunk_path(cache, s).exists()]
    if missing:
        cache.mkdir(parents=True, exist_ok=True)
        jobs = [(cache, s) for s in missing]
        with multiprocessing.get_context("spawn").Pool(workers or os.cpu_count()) as pool:
            done = pool.imap_unordered(_render_chunk, jobs)
            for _ in track(done, total=len(jobs), description=f"rendering {first}:{stop}"):
                pass
    chunks = [np.load(_chunk_path(cache, s)) for s in starts]
    return SceneSet(
        seeds=np.arange(first, stop),
        rgb=np.concatenate([c["rgb"] for c in chunks]),
        labels=np.concatenate([c["labels"] for c in chunks]),
        objects=tuple(
            tuple(SceneObject(**o) for o in scene)
            for c in chunks
            for scene in json.loads(str(c["objects"]))
        ),
    )


def _chunk_path(cache: Path, start: int) -> Path:
    return cache / f"{start:07d}.npz"


def _render_chunk(job: tuple[Path, int]) -> None:
    cache, start = job
    with Tabletop() as table:
        scenes = [table.render(seed) for seed in range(start, start + CHUNK)]
    path = _chunk_path(cache, start)
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(
        unfinished,
        rgb=np.stack([s.rgb for s in scenes]),
        labels=np.stack([s.labels for s in scenes]),
        objects=json.dumps([[asdict(o) for o in s.objects] for s in scenes]),
    )
    unfinished.replace(path)
