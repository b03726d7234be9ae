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

"""COCO's photos and instance annotations, which most data sets here are about.

The photos of the releases of 2014 and 2017 are the same under other names
(`COCO_train2014_000000000009.jpg`, `000000000009.jpg`), so that either folder will do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.rle import DataError, MissingFileError, Rle

FOLDERS = ("train2014", "val2014", "train2017", "val2017")


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        DataError: missing, not JSON, or cut off.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: is missing") from None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected whole JSON, got {type(error).__name__}: {error}; download it again"
        ) from error


def whole_number(value: Any, what: str) -> int:
    """An id or a size, which some publications write as text.

    Raises:
        DataError: anything else; `what` says what was expected.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise DataError(f"expected {what} as a whole number, got {value!r:.60}")


def number_or_none(value: Any) -> int | None:
    """An id or a size; conversions also write 5.0 and "5". None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return whole_number(value, "")
    except DataError:
        return None


def records_of(document: Any, field: str, path: Path) -> list[dict[str, Any]]:
    """The list of objects under a key of a JSON document.

    Raises:
        DataError: no such key, or something else there.
    """
    records = document.get(field) if isinstance(document, dict) else None
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise DataError(
            f'{path}: expected a JSON object with a list of objects as "{field}", got '
            f"{sorted(document) if isinstance(document, dict) else type(document).__name__}"
        )
    return records


@dataclass(frozen=True)
class Photo:
    """One image as the annotations know it; size_hw in pixels."""

    file_name: str
    size_hw: tuple[int, int]


def photos_of(document: Any, path: Path) -> dict[int, Photo]:
    """The "images" of a COCO document by id; an entry that is not one is left out, so that what
    refers to it is reported by its own name."""
    photos = {}
    for image in records_of(document, "images", path):
        key, name = number_or_none(image.get("id")), image.get("file_name")
        height, width = number_or_none(image.get("height")), number_or_none(image.get("width"))
        if (
            key is not None
            and isinstance(name, str)
            and height
            and width
            and min(height, width) > 0
        ):
            photos[key] = Photo(name, (height, width))
    return photos


class CocoPhotos:
    """Finds photos under a root folder; the folders are listed once, not asked for every photo.

    folder: where they should be.
    """

    def __init__(self, root: Path, folder: str) -> None:
        self._root, self._folder = root, folder
        self._names: dict[str, frozenset[str]] = {}

    def path(self, file_name: str) -> Path:
        """Where a photo is. `file_name`: by either release.

        Raises:
            MissingFileError: in none of the folders.
        """
        number = file_name.rsplit("_", 1)[-1]
        for folder in (self._folder, *FOLDERS):
            year_name = number if folder.endswith("2017") else f"COCO_{folder}_{number}"
            if year_name in self._listing(folder):
                return self._root / folder / year_name
        raise MissingFileError(f"{self._folder}/{file_name}")

    def _listing(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            where = self._root / folder
            names = [path.name for path in where.iterdir()] if where.is_dir() else ()
            self._names[folder] = frozenset(names)
        return self._names[folder]


class Instances:
    """`instances.json`: objects and their masks, each decoded once."""

    def __init__(self, path: Path) -> None:
        document = read_json(path)
        self.photos: Mapping[int, Photo] = photos_of(document, path)
        self._annotations = {
            number: a
            for a in records_of(document, "annotations", path)
            if (number := number_or_none(a.get("id"))) is not None
        }
        self._masks: dict[int, Rle] = {}

    def is_crowd(self, annotation_id: int) -> bool:
        """Whether it stands for many things at once."""
        return bool(self._annotations.get(annotation_id, {}).get("iscrowd", 0))

    def mask(self, annotation_id: int, image_id: int) -> Rle:
        """The mask of an object of that image.

        Raises:
            DataError: not there, of another image, not in COCO's form, or without a pixel.
        """
        if annotation_id in self._masks:
            return self._masks[annotation_id]
        annotation = self._annotations.get(annotation_id)
        if annotation is None:
            raise DataError(f"annotation {annotation_id} is not in instances.json")
        if number_or_none(annotation.get("image_id")) != image_id:
            raise DataError(
                f"annotation {annotation_id}: expected one of image {image_id}, got one of "
                f"{annotation.get('image_id')}"
            )
        photo = self.photos.get(image_id)
        if photo is None:
            raise DataError(f"image {image_id} is not in instances.json")
        try:
            mask = Rle.from_coco(annotation.get("segmentation"), photo.size_hw)
        except DataError as error:
            raise DataError(f"annotation {annotation_id}: {error}") from error
        if mask.area_px == 0:
            raise DataError(f"annotation {annotation_id}: its mask has no pixel in the image")
        self._masks[annotation_id] = mask
        return mask
