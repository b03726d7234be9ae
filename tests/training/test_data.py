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

"""The readers on data in the published formats whose truth is the simulator's, to the pixel."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import AutoTokenizer

from flmm_ros.engine.lmm.tokens import PromptTokens
from flmm_sim.tabletop.tabletop import Tabletop, TabletopScene
from training.data.make import MAKERS, make
from training.data.registry import open_data, published
from training.data.rle import DataError
from training.data.sample import DataSet, GroundingSample, load_rgb, read_sample

SEEDS = tuple(range(40, 48))
MODEL = Path(__file__).resolve().parents[2] / "models" / "tabletop" / "lmm"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    make(folder, SEEDS)
    return folder


@pytest.fixture(scope="module")
def scenes() -> dict[int, TabletopScene]:
    """By image id."""
    with Tabletop() as table:
        return {seed + 1: table.render(seed) for seed in SEEDS}


def image_id_of(sample: GroundingSample) -> int:
    return int(sample.image_path.stem.split("_")[-1])


def meant(words: str, scene: TabletopScene) -> np.ndarray:
    """The pixels of the objects whose names stand in the words."""
    labels = [o.label for o in scene.objects if o.name in words]
    return np.isin(scene.labels, labels)


@pytest.mark.parametrize("name", published())
def test_every_made_set_opens_in_all_its_splits_without_loss(name: str, root: Path) -> None:
    data_set = published()[name]
    keys: set[str] = set()
    images: list[set[Path]] = []
    for split in data_set.splits:
        data = open_data(name, root, split)
        assert isinstance(data, DataSet)
        assert (data.name, data.split) == (name, split)
        assert not data.skipped
        assert len(data) >= 1
        samples = [data[i] for i in range(len(data))]
        keys |= {sample.key for sample in samples}
        images.append({sample.image_path for sample in samples})
        for sample in samples:
            assert load_rgb(sample).shape == (240, 320, 3)
            assert all(p.mask.size_hw == (240, 320) for p in sample.phrases)
    total = sum(len(open_data(name, root, split)) for split in data_set.splits)
    assert len(keys) == total  # unique over all splits
    assert sum(map(len, images)) == len(set.union(*images)) == len(SEEDS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refcoco", "{0} on the {1}|the {0}|{1} {0}"),
        ("refcoco+", "{0}|the {0}"),
    ],
)
def test_all_expressions_of_a_photo_are_one_answer(
    name: str, words: str, root: Path, scenes: dict[int, TabletopScene]
) -> None:
    data = open_data(name, root)
    phrases = 0
    for i in range(len(data)):
        sample = data[i]
        scene = scenes[image_id_of(sample)]
        expected = [
            w.format(o.name, "left" if o.center_px[0] < 160 else "right")
            for o in scene.objects
            for w in words.split("|")
        ]
        assert sample.text == ". ".join(expected) + "."
        assert [sample.words_of(p) for p in sample.phrases] == expected
        for phrase in sample.phrases:
            truth = meant(sample.words_of(phrase), scene)
            np.testing.assert_array_equal(phrase.mask.decode(), truth)
            assert phrase.mask.area_px == truth.sum() > 0
            assert phrase.is_thing and not phrase.is_absent
            phrases += 1
    assert phrases > 20


def test_first_takes_what_was_written_first_and_one_is_drawn_the_same_every_time(
    root: Path,
) -> None:
    every = open_data("refcoco", root)
    first = open_data("refcoco", root, expressions="first")
    one, same = (open_data("refcoco", root, expressions="one", seed=3) for _ in range(2))
    other = open_data("refcoco", root, expressions="one", seed=4)
    for i in range(len(every)):
        words = [every[i].words_of(p) for p in every[i].phrases]
        assert [first[i].words_of(p) for p in first[i].phrases] == words[::3]
        drawn = [one[i].words_of(p) for p in one[i].phrases]
        assert len(drawn) == len(words) // 3
        for number, phrase in enumerate(drawn):
            assert phrase in words[3 * number : 3 * number + 3]
    assert [one[i] for i in range(len(one))] == [same[i] for i in range(len(same))]
    assert [one[i].text for i in range(len(one))] != [other[i].text for i in range(len(other))]


def test_an_answer_can_be_kept_short(root: Path) -> None:
    whole = open_data("grefcoco", root)
    parts = open_data("grefcoco", root, phrases_a_sample=2)
    assert max(len(parts[i].phrases) for i in range(len(parts))) == 2
    together: list[tuple[str, bytes]] = []
    for i in range(len(parts)):
        together += [(parts[i].words_of(p), p.mask.counts) for p in parts[i].phrases]
    expected: list[tuple[str, bytes]] = []
    for i in range(len(whole)):
        expected += [(whole[i].words_of(p), p.mask.counts) for p in whole[i].phrases]
    assert together == expected
    assert len({parts[i].key for i in range(len(parts))}) == len(parts)


def test_grefcoco_means_one_several_or_nothing(
    root: Path, scenes: dict[int, TabletopScene]
) -> None:
    kinds = {"one": 0, "several": 0, "nothing": 0}
    for split in ("train", "val", "testA", "testB"):
        data = open_data("grefcoco", root, split)
        for i in range(len(data)):
            sample, scene = data[i], scenes[image_id_of(data[i])]
            for phrase in sample.phrases:
                words, mask = sample.words_of(phrase), phrase.mask.decode()
                if words.startswith("all the"):
                    kind = words.removeprefix("all the ").replace("bunnies", "bunnys")[:-1]
                    labels = [o.label for o in scene.objects if o.kind == kind]
                    truth = np.isin(scene.labels, labels)
                    assert len(labels) > 1 and phrase.is_plural
                else:
                    truth = meant(words, scene)
                    assert bool(phrase.is_plural) == (" and " in words)
                np.testing.assert_array_equal(mask, truth)
                assert phrase.is_absent == (not truth.any())
                assert phrase.is_thing is (None if phrase.is_absent else True)
                several = "several" if phrase.is_plural else "one"
                kinds["nothing" if phrase.is_absent else several] += 1
    assert min(kinds.values()) >= 4, kinds


def test_png_utterances_stand_where_they_are_in_the_caption(
    root: Path, scenes: dict[int, TabletopScene]
) -> None:
    plural = singular = 0
    for split in ("train", "val"):
        data = open_data("png", root, split)
        for i in range(len(data)):
            sample, scene = data[i], scenes[image_id_of(data[i])]
            assert sample.text.startswith("In the image i can see ")
            assert sample.text.endswith(" on the floor.")
            covered = np.zeros((240, 320), int)
            for phrase in sample.phrases:
                words, mask = sample.words_of(phrase), phrase.mask.decode()
                covered += mask
                if words == "the floor":
                    np.testing.assert_array_equal(mask, scene.labels == 0)
                    assert phrase.is_thing is False and phrase.is_plural is False
                    continue
                assert phrase.is_thing is True
                if words.split()[0] in ("a", "an"):
                    np.testing.assert_array_equal(mask, meant(words, scene))
                    singular += 1
                else:
                    number, kinds = words.split()
                    kind = kinds.replace("bunnies", "bunnys")[:-1]
                    labels = [o.label for o in scene.objects if o.kind == kind]
                    np.testing.assert_array_equal(mask, np.isin(scene.labels, labels))
                    assert ("two", "three", "four")[len(labels) - 2] == number
                    assert phrase.is_plural
                    plural += 1
            assert (covered == 1).all()  # every pixel belongs to exactly one noun
    assert plural >= 2 and singular >= 10


def test_reasonseg_asks_and_leaves_pixels_out(root: Path, scenes: dict[int, TabletopScene]) -> None:
    seen = set()
    for split in ("train", "val", "test"):
        data = open_data("reasonseg", root, split)
        for i in range(len(data)):
            sample = data[i]
            scene = scenes[int(sample.image_path.stem.split("_")[0])]
            (phrase,) = sample.phrases
            assert sample.words_of(phrase) == sample.text
            if sample.is_sentence:
                assert sample.question == sample.text and sample.text.endswith("?")
            else:
                assert sample.question == f"What is {sample.text} in this image?"
            kind = scene.objects[0].kind
            labels = [o.label for o in scene.objects if o.kind == kind]
            truth, mask = np.isin(scene.labels, labels), phrase.mask.decode()
            if kind not in ("ring", "mug"):  # polygons fill what a ring or a handle encloses
                np.testing.assert_array_equal(mask & truth, truth)
                assert (mask & ~truth).sum() <= 0.02 * truth.sum()
            other = next((o for o in scene.objects if o.kind != kind), None)
            if other is not None:
                assert phrase.ignored is not None
                ignored = phrase.ignored.decode()
                assert (scene.mask(other) & ~ignored & ~mask).sum() == 0
            seen.add(sample.is_sentence)
    assert seen == {True, False}
    train = open_data("reasonseg", root, "train", texts="all")
    assert len(train) > len(open_data("reasonseg", root, "train"))


@pytest.mark.parametrize("name", ["refcoco", "refcocog", "grefcoco", "png"])
def test_the_tokens_of_a_phrase_are_its_words_and_no_more(name: str, root: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    image = tokenizer.convert_tokens_to_ids("<image>")
    tokens = PromptTokens(tokenizer, "user : <image> {text} assistant :", image)
    data = open_data(name, root)
    for i in range(len(data)):
        sample = data[i]
        suffix = tokens.reading(sample.prompt, sample.text, [p.text_span for p in sample.phrases])
        assert len(suffix.spans) == len(sample.phrases) > 0
        for phrase, (first, stop) in zip(sample.phrases, suffix.spans, strict=True):
            found = tokenizer.decode(suffix.ids[first:stop]).replace(" ", "")
            assert found == sample.words_of(phrase).replace(" ", "")


def test_the_pickles_are_python_2s_and_the_rest_has_the_published_keys(root: Path) -> None:
    content = (root / "refcoco/refs(unc).p").read_bytes()
    assert content[:2] == b"\x80\x02"
    ref = pickle.loads(content)[0]
    assert set(ref) == {
        *("ref_id", "image_id", "file_name", "split", "sent_ids", "sentences"),
        *("ann_id", "category_id"),
    }
    assert set(ref["sentences"][0]) == {"sent_id", "raw", "sent", "tokens"}
    instances = json.loads((root / "refcoco/instances.json").read_text())
    forms = {type(a["segmentation"]) for a in instances["annotations"]}
    assert forms == {list, dict}
    assert {a["iscrowd"] for a in instances["annotations"]} == {0, 1}
    assert any(len(a["segmentation"]) > 1 for a in instances["annotations"] if not a["iscrowd"])
    panoptic = json.loads((root / "annotations/panoptic_val2017.json").read_text())
    info = panoptic["annotations"][0]
    with Image.open(root / "annotations/panoptic_val2017" / info["file_name"]) as image:
        rgb = np.asarray(image).astype(int)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    assert {s["id"] for s in info["segments_info"]} == set(np.unique(ids).tolist())
    assert all((ids == s["id"]).sum() == s["area"] for s in info["segments_info"])
    assert (rgb.max(axis=(0, 1)) > 0).all()  # all three channels count


def test_a_corrupt_image_is_named_once_and_the_others_stay(root: Path, tmp_path: Path) -> None:
    make(tmp_path, SEEDS[:4], ["refcoco+"])
    data = open_data("refcoco+", tmp_path)
    path = data[0].image_path
    path.write_bytes(path.read_bytes()[:500])
    assert read_sample(data, 0) is None
    assert read_sample(data, 0) is None
    (skipped,) = data.skipped
    assert skipped.key == data[0].key and path.name in skipped.reason
    Image.new("RGB", (10, 10)).save(path)
    with pytest.raises(DataError, match=r"expected \(240, 320\) .* got \(10, 10\)"):
        load_rgb(data[0])
    Image.new("L", (320, 240), 77).save(path)
    grey = load_rgb(data[0])
    assert grey.shape == (240, 320, 3) and abs(int(grey.max()) - 77) <= 1


def test_photos_of_2017_stand_in_for_those_of_2014(root: Path, tmp_path: Path) -> None:
    make(tmp_path, SEEDS[:4], ["refcoco+", "png"])
    for path in (tmp_path / "train2014").iterdir():
        path.unlink()
    data = open_data("refcoco+", tmp_path)
    assert data[0].image_path.parent.name in ("train2017", "val2017")
    assert len(data) == 1 and not data.skipped


@pytest.mark.parametrize(
    ("name", "split", "options", "message"),
    [
        ("refcoc", "train", {}, "'refcoc' is unknown; known are: grefcoco, png, .* refcocog"),
        ("png", "testA", {}, "split 'testA' is unknown; known are: train, val"),
        ("png", "val", {"expressions": "all"}, "option 'expressions' is unknown"),
        ("refcoco", "val", {"expressions": "last"}, "expected one of .* got 'last'"),
        ("refcoco", "val", {"phrases_a_sample": 0}, "expected 1 or more, got 0"),
    ],
)
def test_wrong_requests_say_what_is_known(
    name: str, split: str, options: dict[str, object], message: str, root: Path
) -> None:
    with pytest.raises(DataError, match=message):
        open_data(name, root, split, **options)


def test_make_refuses_what_it_cannot_make(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape("ade20k; can make: " + ", ".join(MAKERS))):
        make(tmp_path, SEEDS, ["ade20k"])
    with pytest.raises(DataError, match="expected 4 different seeds or more, got 2"):
        make(tmp_path, [1, 1, 2])
    (tmp_path / "annotations").mkdir()
    with pytest.raises(DataError, match="holds annotations, which may be downloaded data"):
        make(tmp_path, SEEDS, ["png"])
    assert list(tmp_path.iterdir()) == [tmp_path / "annotations"]
