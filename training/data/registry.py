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

"""The data sets by name. Each is one file in `training/data/sets`; nothing else knows their names.

A file there that defines `PUBLISHED` is found by itself: adding a data set is adding a file.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.data.rle import DataError
from training.data.sample import DataSet

log = logging.getLogger(__name__)
NAMED = 3  # broken samples that a warning names; the check names all


@dataclass(frozen=True)
class RequiredFile:
    """A file or folder below the root, and the name of the page where it is published.

    kind: "json", "pickle" or "folder".
    """

    path: str
    kind: str
    page: str


@dataclass(frozen=True)
class PublishedDataSet:
    """A data set as it is published.

    open: (root, split=..., further options) -> DataSet. needs: split -> what must be there.
    images: how many images each split has in the publication, for noticing a part of it.
    recipe: whether the paper's training uses it.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    open: Callable[..., DataSet]
    needs: Callable[[str], tuple[RequiredFile, ...]]
    images: Mapping[str, int] = field(default_factory=dict)
    recipe: bool = False


def published() -> dict[str, PublishedDataSet]:
    """All data sets by name."""
    from training.data import sets

    found: dict[str, PublishedDataSet] = {}
    for module in pkgutil.iter_modules(sets.__path__):
        loaded = importlib.import_module(f"{sets.__name__}.{module.name}")
        for data_set in getattr(loaded, "PUBLISHED", ()):
            found[data_set.name] = data_set
    return dict(sorted(found.items()))


def find(name: str) -> PublishedDataSet:
    """One data set by name.

    Raises:
        DataError: unknown; the message lists the known ones.
    """
    known = published()
    if name not in known:
        raise DataError(f"data set {name!r} is unknown; known are: {', '.join(known)}")
    return known[name]


def open_data(name: str, root: Path | str, split: str = "train", **options: Any) -> DataSet:
    """Opens one split of a data set below `root`; `options` are the data set's own.

    Raises:
        DataError: unknown name, split or option, or files that cannot be read.
    """
    data_set = find(name)
    if split not in data_set.splits:
        raise DataError(
            f"{name}: split {split!r} is unknown; known are: {', '.join(data_set.splits)}"
        )
    known = [
        parameter
        for parameter in inspect.signature(data_set.open).parameters
        if parameter not in ("root", "split")
    ]
    for option in options:
        if option not in known:
            raise DataError(f"{name}: option {option!r} is unknown; known are: {', '.join(known)}")
    advice = f"says: python -m training.data check {root} --sets {name}"
    try:
        data = data_set.open(Path(root), split=split, **options)
    except DataError as error:
        raise DataError(
            f"{error}\nWhat else is missing, and where it is published, {advice}"
        ) from error
    if data.skipped:
        first = "; ".join(f"{s.key}: {s.reason}" for s in data.skipped[:NAMED])
        text = f"{name}/{split}: {len(data.skipped):,} left out ({first}, ...)"
        if not len(data):
            raise DataError(f"{text}, and nothing is left. What is missing {advice}")
        log.warning("%s; all of them %s", text, advice)
    return data
