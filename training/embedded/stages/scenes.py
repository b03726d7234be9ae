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

"""Rendered tabletop scenes on disk: drawn once, in parallel, resumable, read back as arrays.

A cache directory holds chunks of `CHUNK` consecutive seeds, `plain_SEED.npz` and
`crowded_SEED.npz`, with every picture as lossless WebP: some 7 kB a scene. A chunk is written whole
or not at all, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from flmm_sim.tabletop.tabletop import SceneObject, Tabletop

CHUNK = 50


@dataclass(frozen=True)
class SceneSet:
    """B scenes in memory: rgb uint8 [B, H, W, 3], labels uint8 [B, H, W], objects per scene."""

    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    objects: tuple[tuple[SceneObject, ...], ...]

    def __len__(self) -> int:
        return len(self.objects)

    def first(self, count: int) -> SceneSet:
        """The first `count` scenes."""
        return SceneSet(self.rgb[:count], self.labels[:count], self.objects[:count])


def load_scenes(cache: Path, first: int, stop: int, workers: int | None = None) -> SceneSet:
    """Scenes of seeds first..stop-1 (multiples of CHUNK), rendered if they are not there yet: a
    plain one and a crowded one of every seed, one after the other."""
    if first % CHUNK or stop % CHUNK or stop <= first:
        raise ValueError(f"expected a seed range in multiples of {CHUNK}, got {first}:{stop}")
    jobs = [_Chunk(cache, s, crowd) for s in range(first, stop, CHUNK) for crowd in (False, True)]
    missing = [job for job in jobs if not job.path.exists()]
    if missing:
        cache.mkdir(parents=True, exist_ok=True)
        with multiprocessing.get_context("spawn").Pool(workers or os.cpu_count()) as pool:
            done = pool.imap_unordered(_render, missing)
            for _ in track(done, total=len(missing), description=f"rendering {first}:{stop}"):
                pass
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        sets = list(threads.map(_read, jobs))
    pairs = list(zip(sets[::2], sets[1::2], strict=True))
    return SceneSet(
        rgb=np.concatenate([_alternating(a.rgb, b.rgb) for a, b in pairs]),
        labels=np.concatenate([_alternating(a.labels, b.labels) for a, b in pairs]),
        objects=tuple(
            objects
            for a, b in pairs
            for both in zip(a.objects, b.objects, strict=True)
            for objects in both
        ),
    )


@dataclass(frozen=True)
class _Chunk:
    cache: Path
    start: int
    is_crowded: bool

    @property
    def path(self) -> Path:
        return self.cache / f"{'crowded' if self.is_crowded else 'plain'}_{self.start:07d}.npz"


def _alternating(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([a, b], axis=1).reshape(-1, *a.shape[1:])


def _render(chunk: _Chunk) -> None:
    seeds = range(chunk.start, chunk.start + CHUNK)
    with Tabletop() as table:
        draw = table.render_crowd if chunk.is_crowded else table.render
        scenes = [draw(seed) for seed in seeds]
    unfinished = chunk.path.with_suffix(".tmp.npz")
    arrays: dict[str, Any] = {
        **_packed("rgb", [_encode(s.rgb) for s in scenes]),
        **_packed("labels", [_encode(s.labels) for s in scenes]),
        **_packed("objects", [json.dumps([asdict(o) for o in s.objects]).encode() for s in scenes]),
    }
    np.savez(unfinished, **arrays)
    unfinished.replace(chunk.path)


def _read(chunk: _Chunk) -> SceneSet:
    with np.load(chunk.path) as stored:
        return SceneSet(
            rgb=np.stack([_decode(part) for part in _unpacked(stored, "rgb")]),
            labels=np.stack([_decode(part)[..., 0] for part in _unpacked(stored, "labels")]),
            objects=tuple(
                tuple(_object(**o) for o in json.loads(part))
                for part in _unpacked(stored, "objects")
            ),
        )


def _object(*, position_m: list[float], center_px: list[float], **rest: Any) -> SceneObject:
    """JSON knows no tuples."""
    (x, y, z), (column, row) = position_m, center_px
    return SceneObject(position_m=(x, y, z), center_px=(column, row), **rest)


def _encode(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).convert("RGB").save(file, "WEBP", lossless=True, quality=60)
    return file.getvalue()


def _decode(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def _packed(name: str, parts: list[bytes]) -> dict[str, NDArray[np.generic]]:
    ends = np.cumsum([len(part) for part in parts])
    return {name: np.frombuffer(b"".join(parts), np.uint8), f"{name}_ends": ends}


def _unpacked(stored: np.lib.npyio.NpzFile, name: str) -> list[bytes]:
    data, ends = stored[name].tobytes(), stored[f"{name}_ends"].tolist()
    return [data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
