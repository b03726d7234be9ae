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

"""The layout check names every missing and corrupt file, and where it is published."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flmm_ros.cli.plain_console import plain_console
from training.data.__main__ import main
from training.data.check import DataFinding, check, table_of
from training.data.make import make
from training.data.registry import open_data, published
from training.data.rle import DataError
from training.data.sample import read_sample
from training.data.show import draw_sample
from training.data.speed import measure

RECIPE = ("png", "refcoco", "refcoco+", "refcocog")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    make(folder, range(4))
    return folder


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


def problems(found: list[DataFinding]) -> dict[str, DataFinding]:
    return {f.what: f for f in found if f.is_problem}


def test_a_whole_copy_has_no_problem_and_says_how_much_it_is(whole: Path) -> None:
    found = check(whole, tuple(published()), deep=True)
    assert not problems(found)
    assert {f.state for f in found} == {"ok", "part"}
    (part,) = (f for f in found if f.data_set == "refcoco" and f.what == "split testA")
    assert part.detail == "1 of 750 images"
    (png,) = (f for f in found if f.data_set == "png" and f.what == "split val")
    assert (png.state, png.detail) == ("ok", "1 samples")
    files = [f.what for f in found if not f.what.startswith("split")]
    assert "refcoco/refs(unc).p" in files and "annotations/panoptic_val2017" in files


@pytest.mark.parametrize(
    ("file", "data_set", "page"),
    [
        ("refcoco/refs(unc).p", "refcoco", "github.com/lichengunc/refer"),
        ("refcoco+/instances.json", "refcoco+", "github.com/lichengunc/refer"),
        ("annotations/png_coco_train2017.json", "png", "bcv-uniandes.github.io"),
        ("annotations/panoptic_val2017.json", "png", "2017 Panoptic Train/Val annotations"),
        ("annotations/panoptic_train2017", "png", "2017 Panoptic Train/Val annotations"),
        ("val2017", "png", "cocodataset.org: Download, 2017 Val images"),
        ("grefcoco/grefs(unc).json", "grefcoco", "github.com/henghuiding/gRefCOCO"),
        ("reason_seg/ReasonSeg/test", "reasonseg", "github.com/dvlab-research/LISA"),
    ],
)
def test_a_missing_file_is_named_with_its_page(
    file: str, data_set: str, page: str, root: Path
) -> None:
    path = root / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = problems(check(root, tuple(published())))
    assert list(found) == [file]
    assert (found[file].data_set, found[file].state) == (data_set, "missing")
    assert page in found[file].page


@pytest.mark.parametrize(
    "file", ["refcoco/refs(unc).p", "refcoco/instances.json", "annotations/png_coco_val2017.json"]
)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_corrupt(file: str, kept: float, root: Path) -> None:
    content = (root / file).read_bytes()
    (root / file).write_bytes(content[: int(len(content) * kept)])
    found = problems(check(root, ["refcoco", "png"]))
    assert list(found) == [file]
    assert found[file].state == "corrupt"
    assert re.search("cut off|expected whole JSON", found[file].detail)


def test_damage_in_the_middle_is_found_by_reading(root: Path) -> None:
    path = root / "refcoco+" / "instances.json"
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\x00" * 20 + content[120:])
    evil = root / "refcocog" / "refs(umd).p"
    evil.write_bytes(pickle.dumps([print]))
    found = [f for f in check(root, ["refcoco+", "refcocog"]) if f.is_problem]
    assert {(f.data_set, f.state) for f in found} == {
        ("refcoco+", "corrupt"),
        ("refcocog", "corrupt"),
    }
    assert all("lichengunc" in f.page for f in found)
    assert any("instances.json: expected whole JSON" in f.detail for f in found)
    assert any("refused" in f.detail for f in found)


def test_each_missing_and_cut_image_is_named_once(root: Path) -> None:
    photos = sorted((root / "train2014").iterdir())
    shutil.rmtree(root / "train2017")
    shutil.rmtree(root / "val2017")
    photos[0].unlink()
    photos[1].write_bytes(photos[1].read_bytes()[:-40])
    photos[2].write_bytes(b"<html>not found</html>")
    masks = sorted((root / "annotations/panoptic_train2017").iterdir())
    found = problems(check(root, ["refcoco", "grefcoco"]))
    assert {what: f.state for what, f in found.items()} == {
        f"train2014/{photos[0].name}": "missing",
        f"train2014/{photos[1].name}": "corrupt",
        f"train2014/{photos[2].name}": "corrupt",
    }
    assert "it has no end" in found[f"train2014/{photos[1].name}"].detail
    assert "neither JPEG nor PNG" in found[f"train2014/{photos[2].name}"].detail
    assert {f.page for f in found.values()} == {"cocodataset.org: Download, 2014 Train images"}
    make(root, range(4), ["png"])
    content = masks[0].read_bytes()
    masks[0].write_bytes(content[: len(content) // 2] + content[-12:])  # an end, no middle
    masks[1].unlink()
    name = "annotations/panoptic_train2017"
    quick = problems(check(root, ["png"]))
    assert list(quick) == [f"{name}/{masks[1].name}"]
    deep = problems(check(root, ["png"], deep=True))
    assert {what: f.state for what, f in deep.items()} == {
        f"{name}/{masks[1].name}": "missing",
        f"{name}/{masks[0].name}": "corrupt",
    }
    assert "Panoptic" in deep[f"{name}/{masks[0].name}"].page


def test_what_is_broken_in_the_publication_is_left_out_and_no_problem(root: Path) -> None:
    path = root / "refcoco" / "refs(unc).p"
    refs = pickle.loads(path.read_bytes())
    refs[0]["ann_id"] = 123
    path.write_bytes(pickle.dumps(refs, protocol=2))
    found = check(root, ["refcoco"])
    assert not problems(found)
    (left_out,) = (f for f in found if f.state == "left out")
    assert left_out.detail == "annotation 123 is not in instances.json"
    assert left_out.what.endswith("/ref 0")


def test_photos_of_another_size_are_found_by_the_deep_check(root: Path) -> None:
    sample = open_data("refcoco", root)[0]
    with Image.open(sample.image_path) as image:
        image.resize((100, 80)).save(sample.image_path)
    assert not problems(check(root, ["refcoco"]))  # a whole photo, as far as the quick look goes
    (found,) = problems(check(root, ["refcoco"], deep=True)).values()
    assert found.what == str(sample.image_path.relative_to(root)) and found.state == "corrupt"
    assert found.detail == f"expected {sample.size_hw} (height, width) as annotated, got (80, 100)"


def test_names_with_brackets_and_colons_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["refcoco:train:x", "expected points [n, 2]", "d[old]", "a[/x]b"]
    found = [DataFinding(name, name, "corrupt", name, name) for name in names]
    plain_console().print(table_of(found))
    shown = capsys.readouterr().out
    for name in names:
        assert shown.count(name) == 4
    assert main(["check", str(tmp_path / "d[old][/x]:train:")]) == 2
    assert "d[old][/x]:train:: expected the folder" in capsys.readouterr().err


def test_the_command_says_it_and_ends_with_a_status(root: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "training.data", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    fine = run("check", str(root))
    assert fine.returncode == 0, fine.stdout + fine.stderr
    assert "0 missing or corrupt, 0 left out: ready to train" in fine.stdout
    assert all(name in fine.stdout for name in RECIPE) and "grefcoco" not in fine.stdout
    (root / "refcocog" / "instances.json").unlink()
    listed = tmp_path / "out" / "found.json"
    broken = run("check", str(root), "--sets", "refcocog", "--list", str(listed))
    assert broken.returncode == 1
    assert "refcocog/instances.json" in broken.stdout
    assert "github.com/lichengunc/refer: README, Download" in broken.stdout
    states = {f["what"]: f["state"] for f in json.loads(listed.read_text())}
    assert states["refcocog/instances.json"] == "missing"
    nowhere = run("check", str(tmp_path / "nowhere"))
    assert nowhere.returncode == 2
    assert "nowhere: expected the folder that holds the data sets" in nowhere.stderr
    assert run("check").returncode == 2


def test_a_sample_is_drawn_with_its_masks_in_colour(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample, rgb = read_sample(open_data("refcoco+", whole), 0) or pytest.fail("broken")
    row = draw_sample(sample, rgb, phrases=2)
    panel = row.shape[1] // 3  # the image and two phrases, 300 x 225 px each and their captions
    inside = sample.phrases[0].mask.decode()
    shown = np.asarray(Image.fromarray(row[:225, panel : panel + 300]).resize((320, 240)), int)
    coloured = np.ptp(shown, axis=2) > 40  # the rest is grey
    assert (coloured & inside).sum() / (coloured | inside).sum() > 0.85
    out = tmp_path / "out" / "s.png"
    options = ["show", str(whole), "--set", "png", "--split", "val", "--out", str(out)]
    assert main(options) == 0
    with Image.open(out) as image:
        assert image.width > 600
    assert main([*options, "--first", "7"]) == 2
    assert "png/val has samples 0 to 0; got --first 7" in capsys.readouterr().err


def test_speed_counts_what_was_read(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = open_data("refcoco+", whole)
    phrases = len(data[0].phrases)
    found = measure(whole, "refcoco+", "train", 5)
    assert (len(data), found.samples, found.phrases) == (1, 5, phrases)
    assert 0 < found.processor_s < found.clock_s * 1.5 and found.open_s > 0
    assert main(["speed", str(whole), "--set", "png", "--count", "3"]) == 0
    assert "3 samples with" in capsys.readouterr().out
    assert main(["speed", str(whole), "--set", "png", "--count", "0"]) == 2


def test_make_and_list_as_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["make", str(tmp_path), "--scenes", "4", "--sets", "refcoco+"]) == 0
    assert len(open_data("refcoco+", tmp_path)) == 1
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in published())
    assert main(["check", str(tmp_path), "--sets", "ade20k"]) == 2
    assert "'ade20k' is unknown" in capsys.readouterr().err
    with pytest.raises(DataError, match="unknown"):
        check(tmp_path, ["ade20k"])
