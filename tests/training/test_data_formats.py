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

"""Hard cases of the published formats, written by hand: polygons, run lengths, crowds, evil
pickles, broken entries, utterances that repeat, other encodings."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from training.data import sets
from training.data.check import check
from training.data.coco import Instances
from training.data.make.polygons import has_hole, trace
from training.data.make.referring import run_lengths
from training.data.packed import PackedList
from training.data.pickles import read_pickle
from training.data.registry import open_data
from training.data.rle import DataError, Rle
from training.data.sample import (
    BrokenSampleError,
    GroundingSample,
    PhraseTruth,
    joined,
    read_sample,
)
from training.data.sets.png import place_utterances
from training.data.sets.reasonseg import IGNORED, TARGET, draw

HEIGHT, WIDTH = 12, 20


def box(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def rectangle(y0: int, x0: int, y1: int, x1: int) -> list[float]:
    return [float(v) for v in (x0, y0, x1, y0, x1, y1, x0, y1)]


# ---- masks


def test_a_polygon_is_the_pixels_inside_it() -> None:
    mask = Rle.from_coco([rectangle(2, 3, 7, 9)], (HEIGHT, WIDTH))
    np.testing.assert_array_equal(mask.decode(), box(2, 3, 7, 9))
    assert (mask.area_px, mask.size_hw) == (30, (HEIGHT, WIDTH))


def test_several_polygons_are_one_mask_and_may_overlap() -> None:
    mask = Rle.from_coco(
        [rectangle(0, 0, 4, 4), rectangle(2, 2, 6, 6), rectangle(8, 15, 12, 20)], (HEIGHT, WIDTH)
    )
    truth = box(0, 0, 4, 4) | box(2, 2, 6, 6) | box(8, 15, 12, 20)
    np.testing.assert_array_equal(mask.decode(), truth)


def test_a_polygon_beyond_the_image_is_cut() -> None:
    mask = Rle.from_coco([rectangle(-5, 15, 40, 90)], (HEIGHT, WIDTH))
    np.testing.assert_array_equal(mask.decode(), box(0, 15, HEIGHT, WIDTH))


def test_run_lengths_go_down_the_columns_and_begin_with_background() -> None:
    counts = [0, 2, HEIGHT * WIDTH - 2]  # the upper two pixels of the first column
    mask = Rle.from_coco({"size": [HEIGHT, WIDTH], "counts": counts}, (HEIGHT, WIDTH))
    np.testing.assert_array_equal(mask.decode(), box(0, 0, 2, 1))
    again = Rle.from_coco(
        {"size": [HEIGHT, WIDTH], "counts": mask.counts.decode()}, (HEIGHT, WIDTH)
    )
    assert again == mask


def test_a_union_is_the_pixels_of_any() -> None:
    parts = [box(0, 0, 3, 3), box(1, 1, 5, 5), box(9, 9, 10, 10)]
    union = Rle.union([Rle.encode(p) for p in parts])
    np.testing.assert_array_equal(union.decode(), parts[0] | parts[1] | parts[2])
    with pytest.raises(DataError, match="masks of one size"):
        Rle.union([Rle.encode(parts[0]), Rle.empty((4, 4))])
    with pytest.raises(DataError, match="got none"):
        Rle.union([])


def test_a_degenerate_polygon_is_dropped_and_not_its_object() -> None:
    good = rectangle(2, 3, 7, 9)
    alone = Rle.from_coco([good], (HEIGHT, WIDTH))
    for degenerate in ([10.0, 10.0, 10.0, 15.0], [4.0, 4.0], []):
        for together in ([good, degenerate], [degenerate, good]):
            assert Rle.from_coco(together, (HEIGHT, WIDTH)) == alone


def test_ids_and_sizes_written_as_text_or_with_a_point_are_read(tmp_path: Path) -> None:
    document = {
        "images": [{"id": "1", "file_name": "a.jpg", "height": 12.0, "width": "20"}],
        "annotations": [
            {"id": 5.0, "image_id": "1", "segmentation": [rectangle(2, 3, 7, 9)]},
            {"id": 5.5, "image_id": 1, "segmentation": [rectangle(2, 3, 7, 9)]},
        ],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(document))
    found = Instances(path)
    assert found.photos[1].size_hw == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(found.mask(5, 1).decode(), box(2, 3, 7, 9))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "expected polygons"),
        ([], "expected polygons"),
        ("counts", "expected polygons"),
        ([[1.0, 2.0, 3.0, 4.0]], "3 corners or more"),
        ([[1.0, 2.0, 3.0, 4.0, 5.0]], "3 corners or more"),
        ([rectangle(0, 0, 1, 1), [float("nan")] * 6], "3 corners or more"),
        ([["a"] * 6], "3 corners or more"),
        ({"size": [WIDTH, HEIGHT], "counts": [1]}, r"size of the image \[12, 20\]"),
        ({"size": [HEIGHT, WIDTH], "counts": [3, 5]}, "sum to 240 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [300, -60]}, "sum to 240 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": 7}, "as a list or as COCO's string"),
        ({"counts": [240]}, "size of the image"),
        ({"size": [HEIGHT, WIDTH], "counts": "0000"}, "sum to 240 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": "é"}, "sum to 240 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": "`7P"}, "sum to 240 pixels"),  # 240, and cut off
        ([[0.0, 0.0, 1e9, 0.0, 1e9, 5.0]], "3 corners or more"),
    ],
)
def test_what_is_no_mask_is_refused(segmentation: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Rle.from_coco(segmentation, (HEIGHT, WIDTH))


@given(st.lists(st.booleans(), min_size=30, max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_mask_comes_back_from_polygons_and_run_lengths(bits: list[bool]) -> None:
    mask = np.array(bits).reshape(5, 6)
    form = run_lengths(mask) if has_hole(mask) or not mask.any() else trace(mask)
    np.testing.assert_array_equal(Rle.from_coco(form, (5, 6)).decode(), mask)
    np.testing.assert_array_equal(Rle.from_coco(run_lengths(mask), (5, 6)).decode(), mask)
    coded = Rle.encode(mask)
    np.testing.assert_array_equal(coded.decode(), mask)
    text = {"size": [5, 6], "counts": coded.counts.decode()}
    assert Rle.from_coco(text, (5, 6)) == coded


# ---- samples


def test_packed_samples_come_back_equal_and_are_small() -> None:
    items = [(n, f"narrative {n}", (n, n + 1)) for n in range(1000)]
    packed = PackedList(iter(items))
    assert list(packed) == items and len(packed) == 1000
    assert (packed[3], packed[-1], packed[5:7]) == (items[3], items[999], items[5:7])
    again = pickle.loads(pickle.dumps(packed))  # as a loader process gets it
    assert list(again) == items
    assert len(pickle.dumps(packed)) < 100 * 1000
    with pytest.raises(IndexError):
        packed[1000]
    assert list(PackedList([])) == []


def test_joined_expressions_have_their_spans() -> None:
    text, spans = joined(["man on left", "the  dog.", "St. Bernard"])
    assert text == "man on left. the dog. St. Bernard."
    assert [text[a:b] for a, b in spans] == ["man on left", "the dog", "St. Bernard"]


def test_a_sample_must_fit_its_image_and_text() -> None:
    def sample(span: tuple[int, int], size_hw: tuple[int, int]) -> GroundingSample:
        phrase = PhraseTruth(span, Rle.empty((HEIGHT, WIDTH)))
        return GroundingSample("k", Path("x.jpg"), size_hw, "a dog.", (phrase,))

    assert sample((2, 5), (HEIGHT, WIDTH)).phrases
    with pytest.raises(BrokenSampleError, match=r"phrase \(2, 9\) outside a text of 6"):
        sample((2, 9), (HEIGHT, WIDTH))
    with pytest.raises(BrokenSampleError, match=r"expected masks of the image's \(4, 4\)"):
        sample((2, 5), (4, 4))


# ---- pickles


class _Evil:
    def __init__(self, call: tuple[Any, ...]) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_of_every_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    plain = [
        {"a": [1, -2.5, None, True, 10**30], "b": ("é", {"x"}, frozenset([3]))},
        OrderedDict(c=complex(1, 2)),
    ]
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps(plain, protocol=protocol))
    assert read_pickle(path) == plain


def test_a_pickle_of_python_2_with_utf8_and_broken_bytes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    # what Python 2 writes for ["caf\xc3\xa9", "caf\xe9"], byte strings both
    path.write_bytes(b"(lp0\nS'caf\\xc3\\xa9'\np1\naS'caf\\xe9'\np2\na.")
    assert read_pickle(path) == ["café", "caf\ufffd"]


@pytest.mark.parametrize(
    "call",
    [
        (os.system, ("touch {mark}",)),
        (eval, ("open({mark!r}, 'w')",)),
        (np.array, ([1],)),
        (Path, ("x",)),
    ],
)
def test_an_evil_pickle_is_refused_before_it_does_anything(
    call: tuple[Any, Any], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    arguments = tuple(a.format(mark=str(mark)) if isinstance(a, str) else a for a in call[1])
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([{"ref_id": _Evil((call[0], arguments))}]))
    with pytest.raises(DataError, match=r"refs\.p: refused: it asks for .*could run anything"):
        read_pickle(path)
    assert not mark.exists()


def test_a_pickle_of_functions_by_other_ways_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    for content in (b"cos\nsystem\n(S'true'\ntR.", b"cbuiltins\ngetattr\n.", b"cposix\nsystem\n."):
        path.write_bytes(content)
        with pytest.raises(DataError, match="refused"):
            read_pickle(path)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x02]q\x00", b"\x80\x09."])
def test_a_damaged_pickle_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"refs\.p: expected a whole pickle.*download it again"):
        read_pickle(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_pickle(tmp_path / "none.p")


# ---- RefCOCO and gRefCOCO


def ref(number: int, annotation: Any, *, raw: tuple[str, ...] = ("a dog",), **more: Any) -> Any:
    return {
        "ref_id": number,
        "image_id": 1,
        "ann_id": annotation,
        "split": "train",
        "sentences": [{"raw": r, "sent": r.lower()} for r in raw],
        **more,
    }


def annotation(number: int, segmentation: Any, *, image_id: int = 1, crowd: int = 0) -> Any:
    return {"id": number, "image_id": image_id, "segmentation": segmentation, "iscrowd": crowd}


def write_referring(root: Path, name: str, refs: Any, annotations: list[Any]) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    if name == "grefcoco":
        (folder / "grefs(unc).json").write_text(json.dumps(refs))
    else:
        (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    images = [
        {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "height": HEIGHT, "width": WIDTH}
        for i in (1, 2)
    ]
    document = {"images": images, "annotations": annotations}
    (folder / "instances.json").write_text(json.dumps(document))
    (root / "train2014").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "train2014" / images[0]["file_name"])


def test_what_is_broken_in_refcoco_is_named_and_the_rest_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refs = [
        ref(0, 10, raw=("The Dog.", "dog")),
        ref(1, 11),  # no such annotation
        ref(2, 12),  # two corners
        ref(3, 13),  # of another image
        ref(4, 10, image_id=2),  # its photo is missing
        ref(5, 10, image_id=3),  # not even in instances.json
        ref(6, 10, raw=("?!", "left one")),
        ref(7, 14),  # outside the image: no pixel
        ref(8, 10, sentences=[]),
        ref(9, 15, raw=("crowd of dogs",)),
    ]
    crowd = {"size": [HEIGHT, WIDTH], "counts": run_lengths(box(0, 0, 5, 20))["counts"]}
    write_referring(
        tmp_path,
        "refcoco",
        refs,
        [
            annotation(10, [rectangle(2, 3, 7, 9)]),
            annotation(12, [[1.0, 1.0, 2.0, 2.0]]),
            annotation(13, [rectangle(0, 0, 5, 5)], image_id=2),
            annotation(14, [rectangle(50, 50, 60, 60)]),
            annotation(15, crowd, crowd=1),
        ],
    )
    data = open_data("refcoco", tmp_path)
    assert "refcoco/train: 8 left out (refcoco/unc/train/" in caplog.text
    assert len(data) == 1
    sample = data[0]
    assert sample.key == "refcoco/unc/train/1"
    assert sample.text == "the dog. dog. left one. crowd of dogs."
    masks = [p.mask.decode() for p in sample.phrases]
    np.testing.assert_array_equal(masks[0], box(2, 3, 7, 9))
    np.testing.assert_array_equal(masks[3], box(0, 0, 5, 20))
    reasons = {s.key.removeprefix("refcoco/unc/train/"): s.reason for s in data.skipped}
    assert reasons == {
        "1/ref 1": "annotation 11 is not in instances.json",
        "1/ref 2": "annotation 12: a polygon: expected x, y, x, y, ... of 3 corners or more, near "
        "the image, got [1.0, 1.0, 2.0, 2.0]",
        "1/ref 3": "annotation 13: expected one of image 1, got one of 2",
        "2/ref 4": "train2014/COCO_train2014_000000000002.jpg is missing",
        "3/ref 5": "image 3 is not in instances.json",
        "1/ref 6/sentence 0": "it has no words",
        "1/ref 7": "annotation 14: its mask has no pixel in the image",
        "1/ref 8": "it has no sentences",
    }
    assert [s.missing_file for s in data.skipped if s.missing_file] == [
        "train2014/COCO_train2014_000000000002.jpg"
    ]


def test_files_that_are_no_annotations_are_refused(tmp_path: Path) -> None:
    write_referring(tmp_path, "refcoco", [ref(0, 10)], [annotation(10, [rectangle(0, 0, 2, 2)])])
    with pytest.raises(DataError, match="expected split 'val', got only train"):
        open_data("refcoco", tmp_path, "val")
    instances = tmp_path / "refcoco" / "instances.json"
    content = instances.read_text()
    instances.write_text(content.replace('"id": 10', '"id": 11'))
    with pytest.raises(DataError, match=r"1 left out .*annotation 10 .* nothing is left"):
        open_data("refcoco", tmp_path)
    instances.write_text("[]")
    with pytest.raises(DataError, match=r'a list of objects as "images", got list'):
        open_data("refcoco", tmp_path)
    instances.write_text('{"images": [')
    with pytest.raises(DataError, match=r"instances.json: expected whole JSON.*download it again"):
        open_data("refcoco", tmp_path)
    instances.unlink()
    with pytest.raises(DataError, match=r"instances.json: is missing"):
        open_data("refcoco", tmp_path)
    (tmp_path / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps({"refs": []}))
    with pytest.raises(DataError, match="expected a list of refs, got dict"):
        open_data("refcoco", tmp_path)


def test_grefcoco_leaves_crowds_out_and_checks_no_target(tmp_path: Path) -> None:
    write_referring(
        tmp_path,
        "grefcoco",
        [
            ref(0, [10, 11, 12], raw=("both",), no_target=False),
            ref(1, [-1], raw=("a cat",), no_target=True),
            ref(2, [10], raw=("one",)),
            ref(3, [10], raw=("a lie",), no_target=True),
            ref(4, [12], raw=("only a crowd",), no_target=False),
            ref(5, 11, raw=("no list",), no_target=False),
            ref(6, [-1], raw=("unsaid",)),
        ],
        [
            annotation(10, [rectangle(0, 0, 4, 4)]),
            annotation(11, [rectangle(6, 6, 9, 9)]),
            annotation(12, run_lengths(box(0, 10, 12, 20)), crowd=1),
        ],
    )
    data = open_data("grefcoco", tmp_path)
    sample = data[0]
    assert sample.text == "both. a cat. one. no list. unsaid."
    both, cat, one, no_list, unsaid = sample.phrases
    np.testing.assert_array_equal(both.mask.decode(), box(0, 0, 4, 4) | box(6, 6, 9, 9))
    np.testing.assert_array_equal(no_list.mask.decode(), box(6, 6, 9, 9))
    assert [p.is_absent for p in sample.phrases] == [False, True, False, False, True]
    assert [p.is_plural for p in (both, one, no_list)] == [True, False, False]
    assert cat.mask.area_px == unsaid.mask.area_px == 0
    assert [s.reason for s in data.skipped] == [
        "no_target is True, but its annotations are [10]",
        "of its annotations [12] none is an object",
    ]


# ---- PNG


def test_utterances_that_repeat_stand_at_their_own_places() -> None:
    caption = "A man and a man's dog. The dog barks at a man."
    utterances = ["A man", " and ", "a man", "'s ", "dog", ". The ", "dog", " barks at ", "a man"]
    text, spans = place_utterances(caption, utterances)
    assert text == caption
    assert [text[a:b] for a, b in spans] == [u.strip() for u in utterances]
    assert (spans[2], spans[8]) == ((10, 15), (40, 45))
    assert (spans[4], spans[6]) == ((18, 21), (27, 30))


def test_utterances_that_the_caption_does_not_hold_make_their_own_text() -> None:
    text, spans = place_utterances("A man sleeps.", ["A man ", "runs", "", "fast"])
    assert text == "A man runs fast"
    assert [text[a:b] for a, b in spans] == ["A man", "runs", "", "fast"]


def write_png(root: Path, narratives: list[Any], ids: np.ndarray, segments: list[Any]) -> None:
    folder = root / "annotations"
    (folder / "panoptic_val2017").mkdir(parents=True)
    (root / "val2017").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "val2017" / "000000000007.jpg")
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(colours).save(folder / "panoptic_val2017" / "000000000007.png")
    (folder / "png_coco_val2017.json").write_text(json.dumps(narratives))
    panoptic = {
        "images": [
            {"id": 7, "file_name": "000000000007.jpg", "height": HEIGHT, "width": WIDTH},
            {"id": 8, "file_name": "000000000008.jpg", "height": HEIGHT, "width": WIDTH},
        ],
        "annotations": [
            {"image_id": 7, "file_name": "000000000007.png", "segments_info": segments},
            {"image_id": 8, "file_name": "000000000008.png", "segments_info": []},
        ],
        "categories": [
            {"id": 1, "name": "dog", "isthing": 1},
            {"id": 2, "name": "grass", "isthing": 0},
        ],
    }
    (folder / "panoptic_val2017.json").write_text(json.dumps(panoptic))


def said(utterance: str, ids: list[Any], *, plural: bool = False) -> dict[str, Any]:
    return {"utterance": utterance, "segment_ids": ids, "plural": plural, "noun": bool(ids)}


def test_png_segments_are_the_colours_of_the_panoptic_image(tmp_path: Path) -> None:
    ids = np.full((HEIGHT, WIDTH), 5)
    ids[2:5, 3:9] = 7 + 256 * 8 + 65536 * 9
    ids[6:9, 3:9] = 7 + 256 * 8
    dog, puppy = 7 + 256 * 8 + 65536 * 9, 7 + 256 * 8
    segments = [
        {"id": dog, "category_id": 1},
        {"id": puppy, "category_id": 1},
        {"id": 5, "category_id": 2},
        {"id": 99, "category_id": 1},
    ]
    fine = {
        "image_id": "7",
        "caption": "two dogs on grass",
        "segments": [
            said("two dogs ", [str(dog), str(puppy)], plural=True),
            said("on ", []),
            said("grass", ["5"]),
            said(" ", [str(dog)]),  # no words
            said("", ["12345"]),  # no such segment
        ],
    }
    empty = fine | {"segments": [said("two dogs", [])]}
    hidden = fine | {"segments": [said("two dogs", [99])]}
    elsewhere = fine | {"image_id": "8"}
    unknown = fine | {"image_id": "9"}
    nonsense = {"image_id": "seven"}
    write_png(tmp_path, [fine, empty, hidden, elsewhere, unknown, nonsense], ids, segments)
    data = open_data("png", tmp_path, "val")
    assert [data[0].key, len(data)] == ["png/val/7/0", 2]
    dogs, grass = data[0].phrases
    assert (data[0].words_of(dogs), data[0].words_of(grass)) == ("two dogs", "grass")
    np.testing.assert_array_equal(dogs.mask.decode(), box(2, 3, 5, 9) | box(6, 3, 9, 9))
    np.testing.assert_array_equal(grass.mask.decode(), ids == 5)
    assert (dogs.is_thing, dogs.is_plural) == (True, True)
    assert (grass.is_thing, grass.is_plural) == (False, False)
    assert {s.key: s.reason for s in data.skipped} == {
        "png/val/7/0/segment 3": "its utterance has no words",
        "png/val/7/0/segment 4": "segments [12345] are not in the panoptic annotations of the "
        "image",
        "png/val/7/1": "none of its utterances has a segment",
        "png/val/8/3": "annotations/panoptic_val2017/000000000008.png is missing",
        "png/val/9/4": "image 9 is not in the panoptic annotations",
        "png/val/seven/5": "expected image_id as a whole number, got 'seven'",
    }
    assert read_sample(data, 1) is None  # annotated, but nowhere in the pixels
    assert "holds no pixel of segments (99,)" in data.skipped[-1].reason


def test_a_panoptic_image_of_another_size_is_broken(tmp_path: Path) -> None:
    narrative = {"image_id": "7", "caption": "grass", "segments": [said("grass", ["5"])]}
    segments = [{"id": 5, "category_id": 2}]
    write_png(tmp_path, [narrative], np.full((HEIGHT, WIDTH), 5), segments)
    data = open_data("png", tmp_path, "val")
    path = tmp_path / "annotations/panoptic_val2017/000000000007.png"
    Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(BrokenSampleError, match=r"expected \(12, 20\) .* got \(3, 3\)"):
        data[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BrokenSampleError, match="panoptic mask"):
        data[0]


# ---- ReasonSeg


def polygon(label: str, y0: int, x0: int, y1: int, x1: int) -> dict[str, Any]:
    """A rectangle of which the far edges are part, as the authors' drawing has it."""
    corners = [[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]]
    return {"label": label, "points": [[x + 0.9, y + 0.9] for x, y in corners]}


def test_reasonseg_draws_smaller_polygons_on_top_and_cuts_fractions() -> None:
    shapes = [
        polygon("ignore", 4, 4, 6, 6),  # small: on top although it comes first
        polygon("target", 2, 2, 8, 10),
        polygon("Target", 8, 14, 12, 20),
        polygon("flag", 0, 0, 12, 20),
    ]
    labels = draw({"shapes": shapes}, (HEIGHT, WIDTH))
    ignored = box(4, 4, 6, 6)
    np.testing.assert_array_equal(labels == IGNORED, ignored)
    truth = (box(2, 2, 8, 10) | box(8, 14, 12, 20)) & ~ignored
    np.testing.assert_array_equal(labels == TARGET, truth)
    with pytest.raises(DataError, match="shape 0: expected label and points"):
        draw({"shapes": [{"label": "target"}]}, (HEIGHT, WIDTH))
    with pytest.raises(DataError, match=r"expected points \[n, 2\], got \[0\]"):
        draw({"shapes": [{"label": "target", "points": []}]}, (HEIGHT, WIDTH))


def test_reasonseg_reads_windows_encoding_and_names_what_is_broken(tmp_path: Path) -> None:
    folder = tmp_path / "reason_seg/ReasonSeg/val"
    folder.mkdir(parents=True)

    def write(name: str, record: Any, encoding: str = "utf-8", photo: bool = True) -> None:
        text = json.dumps(record, ensure_ascii=False)
        (folder / f"{name}.json").write_bytes(text.encode(encoding))
        if photo:
            Image.new("RGB", (WIDTH, HEIGHT)).save(folder / f"{name}.jpg")

    shapes = [polygon("target", 2, 2, 8, 10)]
    fine = {"text": ["the café’s sign", "sign"], "is_sentence": False, "shapes": shapes}
    write("a", fine, "cp1252")
    write("b", fine | {"shapes": [polygon("ignore", 2, 2, 8, 10)]})
    write("c", fine | {"text": "sign"})
    write("d", fine, photo=False)
    write("e", fine | {"text": [" "]})
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "f.jpg")
    data = open_data("reasonseg", tmp_path, "val")
    assert len(data) == 1
    sample = data[0]
    assert sample.text == "the café’s sign"
    assert sample.question == "What is the café’s sign in this image?"
    assert sample.is_sentence is False
    np.testing.assert_array_equal(sample.phrases[0].mask.decode(), box(2, 2, 8, 10))
    assert sample.phrases[0].ignored is None
    assert {s.key: s.reason for s in data.skipped} == {
        "reasonseg/val/b": "no pixel is a target",
        "reasonseg/val/c": "c.json: expected a list of texts, got 'sign'",
        "reasonseg/val/d": "reason_seg/ReasonSeg/val/d.jpg is missing",
        "reasonseg/val/e": "its text has no words",
        "reasonseg/val/f": "reason_seg/ReasonSeg/val/f.json is missing",
    }
    every = open_data("reasonseg", tmp_path, "val", texts="all")
    assert [every[i].key for i in range(2)] == ["reasonseg/val/a/0", "reasonseg/val/a/1"]
    with pytest.raises(DataError, match="expected photos"):
        open_data("reasonseg", tmp_path, "test")


# ---- one more data set


def test_the_worked_example_of_the_readme_is_one_file_and_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (Path(__file__).parents[2] / "training" / "README.md").read_text()
    (example,) = re.findall(r'```python\n("""My photos:.*?)```', readme, re.DOTALL)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "mine.py").write_text(example)
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path / "sets")])
    monkeypatch.delitem(sys.modules, "training.data.sets.mine", raising=False)
    folder = tmp_path / "data" / "mine"
    folder.mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.png")
    mug = {"words": "the red mug", "polygons": [rectangle(2, 3, 7, 9)]}
    line = {"words": "a line", "polygons": [[1, 1, 2, 2]]}
    records = [
        {"photo": "a.png", "phrases": [mug, mug | {"words": "it"}]},
        {"photo": "a.png", "phrases": [mug, line]},
        {"photo": "none.png", "phrases": [mug]},
    ]
    for split in ("train", "val"):
        (folder / f"{split}.json").write_text(json.dumps(records))
    data = open_data("mine", tmp_path / "data")
    assert (len(data), data[0].text) == (1, "the red mug. it.")
    assert [data[0].words_of(p) for p in data[0].phrases] == ["the red mug", "it"]
    np.testing.assert_array_equal(data[0].phrases[1].mask.decode(), box(2, 3, 7, 9))
    assert [s.key for s in data.skipped] == ["mine/train/1", "mine/train/2"]
    assert read_sample(data, 0) is not None
    found = check(tmp_path / "data", ["mine"])
    assert {f.state for f in found} == {"ok", "left out"}
    (folder / "val.json").unlink()
    (missing,) = (f for f in check(tmp_path / "data", ["mine"]) if f.is_problem)
    assert (missing.what, missing.page) == ("mine/val.json", "the shelf in room 2")
