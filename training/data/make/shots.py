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

"""Tabletop scenes as photos with numbers: the common ground of all data sets that are made."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from flmm_sim.tabletop.tabletop import SceneObject, Tabletop

PLURALS = {"bunny": "bunnies"}  # all other kinds take an s


@dataclass(frozen=True)
class Shot:
    """One photo and its truth: rgb uint8 [H, W, 3], labels uint8 [H, W] (0 is the table)."""

    image_id: int
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.labels.shape[0]), int(self.labels.shape[1])

    @property
    def named(self) -> tuple[SceneObject, ...]:
        """The objects whose colour and kind nothing else in the photo has."""
        names = [o.name for o in self.objects]
        return tuple(o for o in self.objects if names.count(o.name) == 1)

    @property
    def groups(self) -> dict[str, tuple[SceneObject, ...]]:
        """Plural of a kind -> its objects, where there are several."""
        found: dict[str, list[SceneObject]] = defaultdict(list)
        for o in self.objects:
            found[PLURALS.get(o.kind, f"{o.kind}s")].append(o)
        return {word: tuple(objects) for word, objects in found.items() if len(objects) > 1}

    def mask(self, *objects: SceneObject) -> NDArray[np.bool_]:
        """The visible pixels of any of the objects, bool [H, W]."""
        return np.isin(self.labels, [o.label for o in objects])


def draw_shots(seeds: Sequence[int], size_px: tuple[int, int]) -> list[Shot]:
    """The scenes of these seeds; size_px is width and height."""
    shots = []
    with Tabletop(*size_px) as table:
        for seed in track(seeds, "drawing scenes", transient=True):
            scene = table.render(seed)
            shots.append(Shot(seed + 1, scene.rgb, scene.labels, scene.objects))
    return shots


def divide(shots: Sequence[Shot], splits: Sequence[str]) -> dict[str, Sequence[Shot]]:
    """The first ones for training; then an eighth for validation and a sixteenth for each test
    split, at least one photo each."""
    sizes = [max(1, len(shots) // (8 if split == "val" else 16)) for split in splits[1:]]
    start = len(shots) - sum(sizes)
    found = {splits[0]: shots[:start]}
    for split, size in zip(splits[1:], sizes, strict=True):
        found[split] = shots[start : start + size]
        start += size
    return found


def write_photos(folder: Path, prefix: str, shots: Sequence[Shot]) -> None:
    """The photos as COCO names them: PREFIX and twelve digits."""
    folder.mkdir(parents=True, exist_ok=True)
    for shot in shots:
        Image.fromarray(shot.rgb).save(folder / photo_name(prefix, shot), quality=95)


def photo_name(prefix: str, shot: Shot) -> str:
    """ "COCO_train2014_000000000008.jpg"."""
    return f"{prefix}{shot.image_id:012d}.jpg"


def image_record(prefix: str, shot: Shot) -> dict[str, Any]:
    """An entry of "images" in COCO's files."""
    height, width = shot.size_hw
    name = photo_name(prefix, shot)
    return {"id": shot.image_id, "file_name": name, "height": height, "width": width}


def write_json(path: Path, document: Any) -> None:
    """One JSON file, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
