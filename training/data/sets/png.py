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

"""PNG, Panoptic Narrative Grounding: narratives whose nouns are segments of COCO's panoptic masks.

    annotations/png_coco_train2017.json   narratives: image_id, caption, segments (utterance,
                                          segment_ids, plural, noun)
    annotations/panoptic_train2017.json   COCO's segments: id, category_id; categories with isthing
    annotations/panoptic_train2017/*.png  the pixels: id = R + 256 G + 65536 B
    train2017/                            COCO's photos

A narrative is a sample; its text is the caption, and every utterance with segments is a phrase at
the characters where it stands in the caption.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from training.data.coco import (
    CocoPhotos,
    Photo,
    photos_of,
    read_json,
    records_of,
    whole_number,
)
from training.data.packed import PackedList
from training.data.registry import PublishedDataSet, RequiredFile
from training.data.rle import DataError, MissingFileError, Rle
from training.data.sample import BrokenSampleError, GroundingSample, PhraseTruth, Skipped

PAGE = "bcv-uniandes.github.io/panoptic-narrative-grounding: Downloads"
PANOPTIC = "cocodataset.org: Download, 2017 Panoptic Train/Val annotations"
PHOTOS = "cocodataset.org: Download, 2017 {part} images"


@dataclass(frozen=True)
class _Phrase:
    """An utterance with segments: where it stands and which segments it means."""

    text_span: tuple[int, int]
    segments: tuple[int, ...]
    is_thing: bool
    is_plural: bool


@dataclass(frozen=True)
class _Narrative:
    key: str
    photo: Photo
    image_path: Path
    panoptic_path: Path
    text: str
    phrases: tuple[_Phrase, ...]


@dataclass(frozen=True)
class _Segments:
    """COCO's panoptic segments of one image: is each a thing, and where their pixels are."""

    file_name: str
    is_thing: Mapping[int, bool]


class Png:
    """One split of PNG ("train" or "val" of COCO 2017).

    is_thing is the category's of an utterance's first segment, is_plural what the annotation says.
    """

    def __init__(self, root: Path, split: str = "train") -> None:
        self.name, self.split = "png", split
        self.skipped: list[Skipped] = []
        annotations = root / "annotations"
        path = annotations / f"png_coco_{split}2017.json"
        narratives = read_json(path)
        if not isinstance(narratives, list) or not all(isinstance(n, dict) for n in narratives):
            raise DataError(f"{path}: expected a list of narratives")
        panoptic_path = annotations / f"panoptic_{split}2017.json"
        panoptic = read_json(panoptic_path)
        self._sizes = photos_of(panoptic, panoptic_path)
        self._segments = _segments_of(panoptic, panoptic_path)
        del panoptic
        self._photos = CocoPhotos(root, f"{split}2017")
        self._masks = annotations / f"panoptic_{split}2017"
        self._mask_names = (
            {path.name for path in self._masks.iterdir()} if self._masks.is_dir() else set()
        )
        self._narratives = PackedList(self._all_narratives(narratives))
        del self._segments, self._sizes, self._photos, self._mask_names  # only this is kept

    def __len__(self) -> int:
        return len(self._narratives)

    def __getitem__(self, index: int) -> GroundingSample:
        narrative = self._narratives[index]
        ids = panoptic_ids(narrative)
        phrases = []
        for phrase in narrative.phrases:
            mask = np.isin(ids, phrase.segments)
            if not mask.any():
                raise BrokenSampleError(
                    narrative.key,
                    f"{narrative.panoptic_path}: holds no pixel of segments {phrase.segments}",
                )
            phrases.append(
                PhraseTruth(phrase.text_span, Rle.encode(mask), phrase.is_thing, phrase.is_plural)
            )
        return GroundingSample(
            key=narrative.key,
            image_path=narrative.image_path,
            size_hw=narrative.photo.size_hw,
            text=narrative.text,
            phrases=tuple(phrases),
        )

    def files_of(self, index: int) -> tuple[Path, ...]:
        """The image files of a sample, without reading them."""
        narrative = self._narratives[index]
        return narrative.image_path, narrative.panoptic_path

    def _all_narratives(self, records: Sequence[Mapping[str, Any]]) -> Iterator[_Narrative]:
        quick = len(records) < 5_000
        title = f"reading png/{self.split}"
        for number, record in enumerate(track(records, title, transient=True, disable=quick)):
            key = f"png/{self.split}/{record.get('image_id')}/{number}"
            try:
                yield self._narrative(key, record)
            except DataError as error:
                self.skipped.append(Skipped.because_of(key, error))

    def _narrative(self, key: str, record: Mapping[str, Any]) -> _Narrative:
        image_id = whole_number(record.get("image_id"), "image_id")
        caption, segments = record.get("caption"), record.get("segments")
        if not isinstance(caption, str) or not isinstance(segments, list):
            raise DataError(f"expected caption and segments, got {sorted(record)}")
        for number, segment in enumerate(segments):
            if not isinstance(segment, dict) or not isinstance(segment.get("utterance"), str):
                raise DataError(f"segment {number}: expected an utterance, got {segment!r:.60}")
        utterances = [segment["utterance"] for segment in segments]
        if image_id not in self._sizes or image_id not in self._segments:
            raise DataError(f"image {image_id} is not in the panoptic annotations")
        photo, known = self._sizes[image_id], self._segments[image_id]
        if known.file_name not in self._mask_names:
            raise MissingFileError(f"annotations/{self._masks.name}/{known.file_name}")
        text, spans = place_utterances(caption, utterances)
        phrases = []
        for number, (segment, span) in enumerate(zip(segments, spans, strict=True)):
            try:
                phrase = _phrase_of(segment, span, known)
            except DataError as error:
                self.skipped.append(Skipped(f"{key}/segment {number}", str(error)))
                continue
            if phrase is not None:
                phrases.append(phrase)
        if not phrases:
            raise DataError("none of its utterances has a segment")
        return _Narrative(
            key,
            photo,
            self._photos.path(photo.file_name),
            self._masks / known.file_name,
            text,
            tuple(phrases),
        )


def place_utterances(
    caption: str, utterances: Sequence[str]
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The text of a narrative and the characters of each utterance in it, without its outer spaces.

    The text is the caption where it holds all utterances in order, and otherwise the utterances
    themselves with single spaces between them.
    """
    cursor, spans = 0, []
    for utterance in utterances:
        words = utterance.strip()
        start = caption.find(words, cursor)
        if start < 0:
            break
        cursor = start + len(words)
        spans.append((start, cursor))
    if len(spans) == len(utterances):
        return caption, tuple(spans)
    text, spans = "", []
    for utterance in utterances:
        words = utterance.strip()
        text += " " if text and words else ""
        spans.append((len(text), len(text) + len(words)))
        text += words
    return text, tuple(spans)


def panoptic_ids(narrative: _Narrative) -> NDArray[np.int64]:
    """The segment of every pixel, [H, W]; 0 where there is none.

    Raises:
        BrokenSampleError: the PNG is missing, corrupt, or of another size than the image.
    """
    path, key = narrative.panoptic_path, narrative.key
    try:
        with Image.open(path) as image:
            rgb = np.asarray(image.convert("RGB"), np.int64)
    except (OSError, SyntaxError) as error:
        raise BrokenSampleError(key, f"panoptic mask {path}: {error}") from error
    if rgb.shape[:2] != narrative.photo.size_hw:
        raise BrokenSampleError(
            key,
            f"panoptic mask {path}: expected {narrative.photo.size_hw} (height, width), "
            f"got {rgb.shape[:2]}",
        )
    ids: NDArray[np.int64] = rgb @ np.array([1, 256, 256**2])
    return ids


def _phrase_of(
    segment: Mapping[str, Any], span: tuple[int, int], known: _Segments
) -> _Phrase | None:
    """None for an utterance that means no segment.

    Raises:
        DataError: it names segments that the image does not have, or has no words.
    """
    given = segment.get("segment_ids")
    if not isinstance(given, list):
        raise DataError(f"expected segment_ids as a list, got {given!r:.60}")
    ids = tuple(whole_number(i, "segment_ids") for i in given)
    if not ids:
        return None
    if unknown := [i for i in ids if i not in known.is_thing]:
        raise DataError(f"segments {unknown} are not in the panoptic annotations of the image")
    if span[0] == span[1]:
        raise DataError("its utterance has no words")
    return _Phrase(span, ids, known.is_thing[ids[0]], bool(segment.get("plural")))


def _segments_of(panoptic: Any, path: Path) -> dict[int, _Segments]:
    """By image; what is no segment is left out, so that who refers to it is reported."""
    is_thing = {
        c["id"]: bool(c.get("isthing"))
        for c in records_of(panoptic, "categories", path)
        if isinstance(c.get("id"), int)
    }
    found = {}
    for annotation in records_of(panoptic, "annotations", path):
        image_id, file_name = annotation.get("image_id"), annotation.get("file_name")
        infos = annotation.get("segments_info")
        if isinstance(image_id, int) and isinstance(file_name, str) and isinstance(infos, list):
            found[image_id] = _Segments(file_name, _things(infos, is_thing))
    return found


def _things(infos: list[Any], is_thing: Mapping[int, bool]) -> dict[int, bool]:
    found = {}
    for info in infos:
        number = info.get("id") if isinstance(info, dict) else None
        category = info.get("category_id") if isinstance(info, dict) else None
        if isinstance(number, int) and isinstance(category, int) and category in is_thing:
            found[number] = is_thing[category]
    return found


def _needs(split: str) -> tuple[RequiredFile, ...]:
    return (
        RequiredFile(f"annotations/png_coco_{split}2017.json", "json", PAGE),
        RequiredFile(f"annotations/panoptic_{split}2017.json", "json", PANOPTIC),
        RequiredFile(f"annotations/panoptic_{split}2017", "folder", PANOPTIC),
        RequiredFile(f"{split}2017", "folder", PHOTOS.format(part=split.capitalize())),
    )


PUBLISHED = (
    PublishedDataSet(
        name="png",
        title="Panoptic Narrative Grounding",
        splits=("train", "val"),
        open=partial(Png),
        needs=_needs,
        recipe=True,
    ),
)
