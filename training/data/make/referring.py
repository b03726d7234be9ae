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

"""Makes RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO from tabletop scenes."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flmm_sim.tabletop.tabletop import COLORS, KINDS, SceneObject
from training.data.make.polygons import has_hole, trace
from training.data.make.shots import Shot, divide, image_record, write_json, write_photos

PREFIX = "COCO_train2014_"
UNC = ("train", "val", "testA", "testB")
CROWD = 99  # number of the crowd among the annotations of an image
NOTHING = -1


def make_refcoco(
    root: Path, shots: Sequence[Shot], *, name: str, split_bys: Mapping[str, Sequence[str]]
) -> None:
    """One of the three: every object with a name of its own, in two expressions or three.

    split_bys: whose division -> its splits.
    """
    for split_by, splits in split_bys.items():
        refs: list[dict[str, Any]] = []
        for split, part in divide(shots, splits).items():
            for shot in part:
                for o in shot.named:
                    refs.append(_ref(len(refs), shot, split, expressions(name, shot, o)))
                    refs[-1] |= {"ann_id": annotation_id(shot, o), "category_id": category_of(o)}
        path = root / name / f"refs({split_by}).p"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(refs, protocol=2))  # the published ones are Python 2's
    _write_rest(root, name, shots)


def make_grefcoco(root: Path, shots: Sequence[Shot]) -> None:
    """gRefCOCO: one object, several, and nothing."""
    refs: list[dict[str, Any]] = []
    for split, part in divide(shots, UNC).items():
        for shot in part:
            for words, objects in _meanings(shot):
                refs.append(_ref(len(refs), shot, split, [words]))
                refs[-1] |= {
                    "ann_id": [annotation_id(shot, o) for o in objects] or [NOTHING],
                    "category_id": [category_of(o) for o in objects] or [NOTHING],
                    "no_target": not objects,
                }
                if len(objects) > 1:  # the crowd they are part of is no further target
                    refs[-1]["ann_id"].append(shot.image_id * 100 + CROWD)
    write_json(root / "grefcoco" / "grefs(unc).json", refs)
    _write_rest(root, "grefcoco", shots)


def expressions(name: str, shot: Shot, o: SceneObject) -> list[str]:
    """What people would call it: with its place, but for RefCOCO+, and at length for RefCOCOg."""
    side = "left" if o.center_px[0] < shot.size_hw[1] / 2 else "right"
    depth = "near the front" if o.center_px[1] > shot.size_hw[0] / 2 else "at the back"
    if name == "refcoco+":
        return [o.name, f"The {o.name}"]
    if name == "refcocog":
        return [f"The {o.name} on the {side} {depth}.", f"a {o.name} {depth} on the {side}"]
    return [f"{o.name} on the {side}", f"the {o.name}", f"{side} {o.name}"]


def annotation_id(shot: Shot, o: SceneObject) -> int:
    """Of an object in instances.json."""
    return shot.image_id * 100 + o.label


def category_of(o: SceneObject) -> int:
    """Of a kind; COCO counts from 1."""
    return KINDS.index(o.kind) + 1


def _meanings(shot: Shot) -> Iterator[tuple[str, tuple[SceneObject, ...]]]:
    for o in shot.named:
        yield f"the {o.name}", (o,)
    for plural, objects in shot.groups.items():
        yield f"all the {plural}", objects
    if len(shot.named) > 1:
        first, second = shot.named[:2]
        yield f"the {first.name} and the {second.name}", (first, second)
    rng = np.random.default_rng(shot.image_id)
    absent = [f"{c} {k}" for c in COLORS for k in KINDS]
    there = {o.name for o in shot.objects}
    name = next(n for n in rng.permutation(absent) if n not in there)
    yield f"the {name}", ()


def _ref(number: int, shot: Shot, split: str, sentences: Sequence[str]) -> dict[str, Any]:
    sentence_ids = [number * 10 + i for i in range(len(sentences))]
    return {
        "ref_id": number,
        "image_id": shot.image_id,
        "file_name": f"{PREFIX}{shot.image_id:012d}_{number}.jpg",  # with a number too many, as is
        "split": split,
        "sent_ids": sentence_ids,
        "sentences": [
            {
                "sent_id": sentence_id,
                "raw": raw,
                "sent": raw.lower().rstrip("."),
                "tokens": raw.lower().rstrip(".").split(),
            }
            for sentence_id, raw in zip(sentence_ids, sentences, strict=True)
        ],
    }


def _write_rest(root: Path, name: str, shots: Sequence[Shot]) -> None:
    """instances.json and the photos."""
    document = {
        "images": [image_record(PREFIX, shot) for shot in shots],
        "annotations": [a for shot in shots for a in _annotations(shot)],
        "categories": [{"id": i + 1, "name": kind} for i, kind in enumerate(KINDS)],
    }
    write_json(root / name / "instances.json", document)
    write_photos(root / "train2014", PREFIX, shots)


def _annotations(shot: Shot) -> Iterator[dict[str, Any]]:
    """Each object as COCO has it: polygons, or run lengths where those cannot say it; and all
    objects together as a crowd."""
    for o in shot.objects:
        mask = shot.mask(o)
        yield {
            "id": annotation_id(shot, o),
            "image_id": shot.image_id,
            "category_id": category_of(o),
            "iscrowd": 0,
            "area": int(mask.sum()),
            "bbox": bbox_of(mask),
            "segmentation": run_lengths(mask) if has_hole(mask) else trace(mask),
        }
    everything = shot.labels > 0
    yield {
        "id": shot.image_id * 100 + CROWD,
        "image_id": shot.image_id,
        "category_id": 1,
        "iscrowd": 1,
        "area": int(everything.sum()),
        "bbox": bbox_of(everything),
        "segmentation": run_lengths(everything),
    }


def bbox_of(mask: NDArray[np.bool_]) -> list[int]:
    """x, y, width, height in pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's list of counts: down the columns, beginning with background."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat[0] else counts}
