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

"""Makes PNG from tabletop scenes: narratives, panoptic JSON and panoptic PNGs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flmm_sim.tabletop.tabletop import KINDS, SceneObject
from training.data.make.referring import bbox_of, category_of
from training.data.make.shots import Shot, divide, image_record, write_json, write_photos

STUFF = len(KINDS) + 1  # the category of what the things lie on
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
GROUND = "the floor"


def make_png(root: Path, shots: Sequence[Shot]) -> None:
    """Both splits of PNG: singular and plural nouns, things and stuff."""
    for split, part in divide(shots, ("train", "val")).items():
        year = f"{split}2017"
        folder = root / "annotations"
        write_json(folder / f"png_coco_{year}.json", [narrative(shot) for shot in part])
        write_json(folder / f"panoptic_{year}.json", _panoptic(part))
        masks = folder / f"panoptic_{year}"
        masks.mkdir(parents=True, exist_ok=True)
        for shot in part:
            Image.fromarray(_pixels(shot)).save(masks / f"{shot.image_id:012d}.png")
        write_photos(root / year, "", part)


def narrative(shot: Shot) -> dict[str, Any]:
    """One entry of png_coco_*.json. Numbers are strings there, and utterances have outer spaces."""
    segments = [_segment("In the image i can see ", (), is_noun=False)]
    for number, (words, objects) in enumerate(_nouns(shot)):
        if number:
            segments.append(_segment(", ", (), is_noun=False))
        ids = [segment_id(shot, o.label) for o in objects]
        segments.append(_segment(words, ids, is_noun=True, is_plural=len(ids) > 1))
    segments.append(_segment(" on ", (), is_noun=False))
    segments.append(_segment(GROUND, [segment_id(shot, 0)], is_noun=True))
    segments.append(_segment(".", (), is_noun=False))
    return {
        "image_id": str(shot.image_id),
        "caption": "".join(s["utterance"] for s in segments),
        "segments": segments,
    }


def segment_id(shot: Shot, label: int) -> int:
    """Of an object, or with 0 of the table, in the panoptic PNG; large enough for all three colour
    channels."""
    return (shot.image_id * 977 + label * 70_001 + 66_000) % 256**3


def _nouns(shot: Shot) -> list[tuple[str, tuple[SceneObject, ...]]]:
    """What there is: kinds of which there are several, then the others."""
    found: list[tuple[str, tuple[SceneObject, ...]]] = []
    for plural, objects in shot.groups.items():
        count = NUMBERS[len(objects)] if len(objects) < len(NUMBERS) else "many"
        found.append((f"{count} {plural}", objects))
    grouped = {o.label for _, objects in found for o in objects}
    for o in shot.objects:
        if o.label not in grouped:
            found.append((f"{'an' if o.color == 'orange' else 'a'} {o.name}", (o,)))
    return found


def _segment(
    utterance: str, ids: Sequence[int], *, is_noun: bool, is_plural: bool = False
) -> dict[str, Any]:
    return {
        "utterance": utterance,
        "segment_ids": [str(i) for i in ids],
        "plural": is_plural,
        "noun": is_noun,
    }


def _panoptic(shots: Sequence[Shot]) -> dict[str, Any]:
    categories: list[dict[str, Any]] = [
        {"id": i + 1, "name": kind, "isthing": 1} for i, kind in enumerate(KINDS)
    ]
    return {
        "images": [image_record("", shot) for shot in shots],
        "annotations": [
            {
                "image_id": shot.image_id,
                "file_name": f"{shot.image_id:012d}.png",
                "segments_info": _segments_info(shot),
            }
            for shot in shots
        ],
        "categories": [*categories, {"id": STUFF, "name": "floor-wood", "isthing": 0}],
    }


def _segments_info(shot: Shot) -> list[dict[str, Any]]:
    kinds = {0: STUFF} | {o.label: category_of(o) for o in shot.objects}
    return [
        {
            "id": segment_id(shot, label),
            "category_id": category,
            "iscrowd": 0,
            "area": int((shot.labels == label).sum()),
            "bbox": bbox_of(shot.labels == label),
        }
        for label, category in kinds.items()
    ]


def _pixels(shot: Shot) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Segment ids as colours [H, W, 3]: id = R + 256 G + 65536 B."""
    table = np.array([segment_id(shot, label) for label in range(len(shot.objects) + 1)])
    ids = table[shot.labels]
    return np.stack([ids % 256, ids // 256 % 256, ids // 256**2], axis=-1).astype(np.uint8)
