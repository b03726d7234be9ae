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

"""Whatever is changed in annotations, a reader refuses the file or names what it leaves out."""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training.data.make import make
from training.data.registry import open_data
from training.data.rle import DataError
from training.data.sample import read_sample

JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**20, 1.5, float("nan"), float("inf")),
    *("", "x", "-3", "\u00e9", [], {}, [None], {"a": 1}, [[1, 2]]),
)
FILES = {
    "refcoco/refs(unc).p": "refcoco",
    "refcoco/instances.json": "refcoco",
    "grefcoco/grefs(unc).json": "grefcoco",
    "annotations/png_coco_train2017.json": "png",
    "annotations/panoptic_train2017.json": "png",
    "reason_seg/ReasonSeg/train/1_tabletop.json": "reasonseg",
}
TRIES = 40


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    make(folder, range(4), ["refcoco", "grefcoco", "png", "reasonseg"])
    return folder


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document; of long lists only the beginning."""
    yield path
    if isinstance(document, dict):
        for key in document:
            yield from places(document[key], (*path, key))
    elif isinstance(document, list):
        for index, value in enumerate(document[:30]):
            yield from places(value, (*path, index))


def damaged(document: Any, rng: random.Random) -> Any:
    """A copy with one thing gone, or something else in its place."""
    document = copy.deepcopy(document)
    place = rng.choice(list(places(document)))
    if not place:
        return rng.choice(JUNK)
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    if isinstance(parent, dict) and rng.random() < 0.25:
        del parent[place[-1]]
    else:
        parent[place[-1]] = rng.choice(JUNK)
    return document


@pytest.mark.parametrize("file", FILES)
def test_no_damage_goes_further_than_its_sample(file: str, root: Path) -> None:
    path, rng = root / file, random.Random(file)
    content = path.read_bytes()
    is_pickle = file.endswith(".p")
    document = pickle.loads(content) if is_pickle else json.loads(content)
    whole = len(open_data(FILES[file], root))
    ends: Counter[str] = Counter()
    try:
        for _ in range(TRIES):
            broken = damaged(document, rng)
            path.write_bytes(
                pickle.dumps(broken, protocol=2) if is_pickle else json.dumps(broken).encode()
            )
            try:
                data = open_data(FILES[file], root)
            except DataError as error:
                assert "python -m training.data check" in str(error)
                ends["refused"] += 1
                continue
            for index in range(len(data)):
                read_sample(data, index)
            assert len(data) == whole or data.skipped, f"{broken!r:.200} was lost silently"
            ends["named" if data.skipped else "unharmed"] += 1
    finally:
        path.write_bytes(content)
    assert ends["named"] + ends["refused"] >= 3, ends
