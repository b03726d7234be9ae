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

"""ReasonSeg: questions that need reasoning, answered by a region of the photo.

    reason_seg/ReasonSeg/val/NAME.jpg    a photo
    reason_seg/ReasonSeg/val/NAME.json   text (several wordings), is_sentence, shapes: polygons with
                                         label "target" or "ignore" ("flag" means nothing)

The polygons are drawn as the authors draw them (filled and outlined, larger ones first, so that a
small one lies on top), because the published numbers are measured against these very pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from training.data.registry import PublishedDataSet, RequiredFile
from training.data.rle import DataError, MissingFileError, Rle
from training.data.sample import GroundingSample, PhraseTruth, Skipped

PAGE = "github.com/dvlab-research/LISA: README, Dataset"
FOLDER = Path("reason_seg/ReasonSeg")
SHORT_QUESTION = "What is {words} in this image?"  # what is asked where the query is no sentence
TARGET, IGNORED = 1, 255


class ReasonSeg:
    """One split of ReasonSeg.

    texts: of the several wordings of one query: the "first" (how the authors evaluate) or "all",
        each a sample of its own.
    """

    def __init__(self, root: Path, split: str = "val", texts: str = "first") -> None:
        if texts not in ("first", "all"):
            raise DataError(f"texts: expected 'first' or 'all', got {texts!r}")
        self.name, self.split = "reasonseg", split
        self.skipped: list[Skipped] = []
        folder = root / FOLDER / split
        photos = sorted(folder.glob("*.jpg")) if folder.is_dir() else []
        if not photos:
            raise DataError(f"{folder}: expected photos (*.jpg), each with a .json; got none")
        self._samples: list[GroundingSample] = []
        for path in track(photos, f"reading reasonseg/{split}", transient=True):
            key = f"reasonseg/{split}/{path.stem}"
            try:
                self._samples += _samples_of(key, path, only_first=texts == "first")
            except DataError as error:
                self.skipped.append(Skipped.because_of(key, error))
        photo_names = {path.stem for path in photos}
        for path in sorted(folder.glob("*.json")):
            if path.stem not in photo_names:
                key = f"reasonseg/{split}/{path.stem}"
                missing = MissingFileError(str(FOLDER / split / f"{path.stem}.jpg"))
                self.skipped.append(Skipped.because_of(key, missing))

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> GroundingSample:
        return self._samples[index]

    def files_of(self, index: int) -> tuple[Path, ...]:
        """The image files of a sample, without reading them."""
        return (self._samples[index].image_path,)


def _samples_of(key: str, photo: Path, *, only_first: bool) -> list[GroundingSample]:
    record = _read_record(photo.with_suffix(".json"))
    try:
        with Image.open(photo) as image:
            size_hw = (image.height, image.width)
    except (OSError, SyntaxError) as error:
        raise DataError(f"image {photo.name}: {error}") from error
    labels = draw(record, size_hw)
    if not (labels == TARGET).any():
        raise DataError("no pixel is a target")
    mask = Rle.encode(labels == TARGET)
    ignored = Rle.encode(labels == IGNORED) if (labels == IGNORED).any() else None
    is_sentence = bool(record["is_sentence"])
    texts = [text.strip() for text in record["text"] if text.strip()]
    if not texts:
        raise DataError("its text has no words")
    return [
        GroundingSample(
            key=key if only_first else f"{key}/{number}",
            image_path=photo,
            size_hw=size_hw,
            text=text,
            phrases=(PhraseTruth((0, len(text)), mask, ignored=ignored),),
            question=text if is_sentence else SHORT_QUESTION.format(words=text),
            is_sentence=is_sentence,
        )
        for number, text in enumerate(texts[:1] if only_first else texts)
    ]


def _read_record(path: Path) -> dict[str, Any]:
    """One annotation; a few of the published files are not UTF-8 but Windows' encoding."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(str(FOLDER / path.parent.name / path.name)) from None
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error}") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path.name}: expected whole JSON: {error}") from error
    texts = record.get("text") if isinstance(record, dict) else None
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise DataError(f"{path.name}: expected a list of texts, got {texts!r}")
    if not isinstance(record.get("shapes"), list) or "is_sentence" not in record:
        raise DataError(f"{path.name}: expected shapes and is_sentence, got {sorted(record)}")
    return record


def draw(record: Mapping[str, Any], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The label of every pixel, uint8 [H, W]: 0, TARGET or IGNORED.

    Raises:
        DataError: a shape without a label or points.
    """
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            "ReasonSeg needs OpenCV, which draws its polygons; run: pip install 'flmm_ros[train]'"
        ) from error
    layers = []
    for number, shape in enumerate(record["shapes"]):
        try:
            label = str(shape["label"]).lower()
            points = np.array(shape["points"], np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"shape {number}: expected label and points: {error}") from error
        if label == "flag":
            continue
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) == 0:
            raise DataError(f"shape {number}: expected points [n, 2], got {list(points.shape)}")
        if not (np.abs(points) <= 10 * max(size_hw)).all():
            raise DataError(f"shape {number}: expected points near the image of {size_hw}")
        corners = points.astype(np.int32)  # cut, not rounded
        layer = np.zeros(size_hw, np.uint8)
        cv2.polylines(layer, [corners], True, 1, 1)
        cv2.fillPoly(layer, [corners], 1)
        layers.append((int(layer.sum()), IGNORED if "ignore" in label else TARGET, layer))
    labels = np.zeros(size_hw, np.uint8)
    for _, value, layer in sorted(layers, key=lambda found: -found[0]):
        labels[layer == 1] = value
    return labels


def _needs(split: str) -> tuple[RequiredFile, ...]:
    return (RequiredFile(str(FOLDER / split), "folder", PAGE),)


PUBLISHED = (
    PublishedDataSet(
        name="reasonseg",
        title="ReasonSeg",
        splits=("train", "val", "test"),
        open=partial(ReasonSeg),
        needs=_needs,
        images={"train": 239, "val": 200, "test": 779},
    ),
)
