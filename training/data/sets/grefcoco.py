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

"""gRefCOCO: expressions for one object of a COCO photo, for several, or for nothing in it.

    grefcoco/grefs(unc).json   a list of refs as RefCOCO's, but ann_id is a list ([-1] for nothing)
                               and there is no_target
    grefcoco/instances.json    COCO's instances
    train2014/                 COCO's photos

As the authors' own loader does, crowds among the objects of an expression are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from training.data.coco import read_json, whole_number
from training.data.registry import PublishedDataSet, RequiredFile
from training.data.rle import DataError, Rle
from training.data.sets.refcoco import PHOTOS, Expression, RefCoco

PAGE = "github.com/henghuiding/gRefCOCO: README, gRefCOCO Dataset Download"
NOTHING = -1  # the annotation of an expression that means nothing in the photo


class GRefCoco(RefCoco):
    """One split of gRefCOCO; options as for RefCOCO. Expressions without a target are absent
    phrases with an empty mask."""

    refs_file = "grefs({split_by}).json"

    def _read_refs(self, path: Path) -> Any:
        return read_json(path)

    def _truth_of(self, ref: Mapping[str, Any]) -> Expression:
        given = ref.get("ann_id")
        given = given if isinstance(given, list) else [given]
        numbers = [whole_number(number, "ann_id") for number in given]
        says_nothing = bool(ref.get("no_target", numbers == [NOTHING]))
        if says_nothing != (numbers == [NOTHING]):
            raise DataError(
                f"no_target is {ref.get('no_target')}, but its annotations are {numbers}"
            )
        if says_nothing:
            size_hw = self._instances.photos[ref["image_id"]].size_hw
            return Expression("", Rle.empty(size_hw), is_absent=True)
        objects = [number for number in numbers if not self._instances.is_crowd(number)]
        if not objects:
            raise DataError(f"of its annotations {numbers} none is an object")
        masks = [self._instances.mask(number, ref["image_id"]) for number in objects]
        return Expression("", Rle.union(masks), is_plural=len(objects) > 1)


def _needs(split: str) -> tuple[RequiredFile, ...]:
    return (
        RequiredFile("grefcoco/grefs(unc).json", "json", PAGE),
        RequiredFile("grefcoco/instances.json", "json", PAGE),
        RequiredFile("train2014", "folder", PHOTOS),
    )


PUBLISHED = (
    PublishedDataSet(
        name="grefcoco",
        title="gRefCOCO",
        splits=("train", "val", "testA", "testB"),
        open=partial(GRefCoco, name="grefcoco"),
        needs=_needs,
    ),
)
