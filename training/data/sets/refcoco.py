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

"""RefCOCO, RefCOCO+ and RefCOCOg: expressions that people wrote for one object of a COCO photo.

    refcoco/refs(unc).p      a list of refs: ref_id, image_id, ann_id, split, sentences (raw, sent)
    refcoco/instances.json   COCO's instances of these photos
    train2014/               COCO's photos (train2017/ and val2017/ hold the same ones)

All expressions of a photo become one answer, "man on left. the dog.", as F-LMM trains: a photo is a
sample, an expression a phrase.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from training.data.coco import CocoPhotos, Instances, whole_number
from training.data.packed import PackedList
from training.data.pickles import read_pickle
from training.data.registry import PublishedDataSet, RequiredFile
from training.data.rle import DataError, Rle
from training.data.sample import GroundingSample, PhraseTruth, Skipped, joined

PAGE = "github.com/lichengunc/refer: README, Download"
PHOTOS = "cocodataset.org: Download, 2014 Train images"
EXPRESSIONS = ("all", "first", "one")
USUAL = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "grefcoco": "unc"}  # split by


@dataclass(frozen=True)
class Expression:
    """Words, and what they mean in the photo."""

    words: str
    mask: Rle
    is_absent: bool = False
    is_plural: bool | None = None


class RefCoco:
    """One split of RefCOCO, RefCOCO+ or RefCOCOg.

    expressions: of the several people wrote for one object: "all" of them, the "first" (how F-LMM
        evaluates), or "one" drawn by `seed` (how F-LMM trains).
    phrases_a_sample: at most so many in one answer, None for all of the photo.
    """

    refs_file = "refs({split_by}).p"

    def __init__(
        self,
        root: Path,
        split: str = "train",
        *,
        name: str = "refcoco",
        split_by: str = "unc",
        expressions: str = "all",
        phrases_a_sample: int | None = None,
        seed: int = 0,
    ) -> None:
        if expressions not in EXPRESSIONS:
            raise DataError(f"expressions: expected one of {EXPRESSIONS}, got {expressions!r}")
        if phrases_a_sample is not None and phrases_a_sample < 1:
            raise DataError(f"phrases_a_sample: expected 1 or more, got {phrases_a_sample}")
        self.name = name if split_by == USUAL[name] else f"{name}-{split_by}"
        self.split = split
        self.skipped: list[Skipped] = []
        self._prefix = f"{name}/{split_by}/{split}"
        self._expressions, self._seed = expressions, seed
        folder = root / name
        refs_path = folder / self.refs_file.format(split_by=split_by)
        refs = self._refs_of(self._read_refs(refs_path), refs_path)
        self._instances = Instances(folder / "instances.json")
        self._photos = CocoPhotos(root, "train2014")
        self._samples = PackedList(self._all_samples(refs, phrases_a_sample))
        del self._instances, self._photos  # only samples are kept: workers get a copy of this

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> GroundingSample:
        return self._samples[index]

    def files_of(self, index: int) -> tuple[Path, ...]:
        """The image files of a sample, without reading them."""
        return (self._samples[index].image_path,)

    def _read_refs(self, path: Path) -> Any:
        return read_pickle(path)

    def _refs_of(self, refs: Any, path: Path) -> list[dict[str, Any]]:
        if not isinstance(refs, list) or not all(isinstance(r, dict) for r in refs):
            raise DataError(f"{path}: expected a list of refs, got {type(refs).__name__}")
        found = [ref for ref in refs if ref.get("split") == self.split]
        if not found:
            splits = sorted({str(ref.get("split")) for ref in refs})
            raise DataError(f"{path}: expected split {self.split!r}, got only {', '.join(splits)}")
        return found

    def _all_samples(
        self, refs: Sequence[dict[str, Any]], phrases_a_sample: int | None
    ) -> Iterator[GroundingSample]:
        by_photo: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for number, ref in enumerate(refs):
            try:
                image_id = whole_number(ref.get("image_id"), "image_id")
                ref_id = whole_number(ref.get("ref_id"), "ref_id")
            except DataError as error:
                self.skipped.append(Skipped(f"{self._prefix}/ref at {number}", str(error)))
                continue
            by_photo[image_id].append({**ref, "image_id": image_id, "ref_id": ref_id})
        quick = len(by_photo) < 5_000
        for image_id in track(
            sorted(by_photo), f"reading {self._prefix}", transient=True, disable=quick
        ):
            expressions = [e for ref in by_photo[image_id] for e in self._read_ref(ref)]
            size = phrases_a_sample or max(len(expressions), 1)
            for first in range(0, len(expressions), size):
                part = "" if len(expressions) <= size else f"/{first // size}"
                yield self._sample(image_id, part, expressions[first : first + size])

    def _sample(
        self, image_id: int, part: str, expressions: Sequence[Expression]
    ) -> GroundingSample:
        text, spans = joined([e.words for e in expressions])
        photo = self._instances.photos[image_id]
        return GroundingSample(
            key=f"{self._prefix}/{image_id}{part}",
            image_path=self._photos.path(photo.file_name),
            size_hw=photo.size_hw,
            text=text,
            phrases=tuple(
                PhraseTruth(
                    span,
                    e.mask,
                    is_thing=None if e.is_absent else True,  # COCO's instances are things
                    is_plural=e.is_plural,
                    is_absent=e.is_absent,
                )
                for span, e in zip(spans, expressions, strict=True)
            ),
        )

    def _read_ref(self, ref: Mapping[str, Any]) -> list[Expression]:
        """The expressions of one ref that can be used; the others are named in `skipped`."""
        key = f"{self._prefix}/{ref['image_id']}/ref {ref['ref_id']}"
        try:
            photo = self._instances.photos.get(ref["image_id"])
            if photo is None:
                raise DataError(f"image {ref['image_id']} is not in instances.json")
            self._photos.path(photo.file_name)
            truth = self._truth_of(ref)
            sentences = ref.get("sentences")
            if not isinstance(sentences, list) or not sentences:
                raise DataError("it has no sentences")
        except DataError as error:
            self.skipped.append(Skipped.because_of(key, error))
            return []
        found = []
        for number, sentence in self._chosen(ref, sentences):
            words = words_of(sentence)
            if words:
                found.append(Expression(words, truth.mask, truth.is_absent, truth.is_plural))
            else:
                self.skipped.append(Skipped(f"{key}/sentence {number}", "it has no words"))
        return found

    def _truth_of(self, ref: Mapping[str, Any]) -> Expression:
        """What a ref means, without its words."""
        number = whole_number(ref.get("ann_id"), "ann_id")
        return Expression("", self._instances.mask(number, ref["image_id"]))

    def _chosen(self, ref: Mapping[str, Any], sentences: list[Any]) -> list[tuple[int, Any]]:
        if self._expressions == "first":
            return [(0, sentences[0])]
        if self._expressions == "one":
            rng = np.random.default_rng([self._seed, ref["ref_id"]])
            number = int(rng.integers(len(sentences)))
            return [(number, sentences[number])]
        return list(enumerate(sentences))


def words_of(sentence: Any) -> str:
    """The words of a sentence as F-LMM takes them: as they were written, in lower case.

    Empty where nothing but punctuation is left.
    """
    if not isinstance(sentence, dict):
        return ""
    for field in ("raw", "sent"):
        text = sentence.get(field)
        if isinstance(text, str):
            words = " ".join(text.lower().split()).rstrip(" .")
            if any(letter.isalnum() for letter in words):
                return words
    return ""


def _needs(name: str, split_by: str, split: str) -> tuple[RequiredFile, ...]:
    return (
        RequiredFile(f"{name}/refs({split_by}).p", "pickle", PAGE),
        RequiredFile(f"{name}/instances.json", "json", PAGE),
        RequiredFile("train2014", "folder", PHOTOS),
    )


def _published(name: str, split_by: str, title: str, images: Mapping[str, int]) -> PublishedDataSet:
    usual = split_by == USUAL[name]

    def opens(
        root: Path,
        split: str = "train",
        expressions: str = "all",
        phrases_a_sample: int | None = None,
        seed: int = 0,
    ) -> RefCoco:
        return RefCoco(
            root,
            split,
            name=name,
            split_by=split_by,
            expressions=expressions,
            phrases_a_sample=phrases_a_sample,
            seed=seed,
        )

    return PublishedDataSet(
        name=name if usual else f"{name}-{split_by}",
        title=title,
        splits=tuple(images),
        open=opens,
        needs=partial(_needs, name, split_by),
        images=images,
        recipe=usual,
    )


PUBLISHED = (
    _published(
        "refcoco", "unc", "RefCOCO", {"train": 16994, "val": 1500, "testA": 750, "testB": 750}
    ),
    _published(
        "refcoco+", "unc", "RefCOCO+", {"train": 16992, "val": 1500, "testA": 750, "testB": 750}
    ),
    _published("refcocog", "umd", "RefCOCOg", {"train": 21899, "val": 1300, "test": 2600}),
    _published(
        "refcoco", "google", "RefCOCO (Google split)", {"train": 19213, "val": 4559, "test": 4527}
    ),
    _published("refcocog", "google", "RefCOCOg (Google split)", {"train": 24698, "val": 4650}),
)
