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

"""Whole evaluations on small data sets in the published formats, alone, in parts and in company."""

import copy
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError, FlmmError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.masks.mask import tight_box
from flmm_sim.tabletop.tabletop import Tabletop
from training.data.make import make
from training.data.registry import open_data
from training.data.rle import Rle
from training.data.sample import GroundingSample, PhraseTruth, load_rgb
from training.evaluate import main, splits_of
from training.evaluation.benchmark import BenchmarkRequest, run_benchmark, title_of, write_results
from training.evaluation.measuring import PhraseResult, SampleReader, cases_of
from training.evaluation.pages.scenes import SceneRange, sample_of, write_scene_page
from training.evaluation.processes import EvaluationProcess
from training.evaluation.records import CaseRecords

ROOT = Path(__file__).resolve().parents[2]
ALONE = EvaluationProcess()
PHOTOS = 5  # of the split that is shared out: uneven for two


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    make(root, range(8), ("refcoco", "png", "reasonseg", "grefcoco"))
    return root


@pytest.fixture(scope="module")
def grounder() -> Grounder:
    return Grounder.from_config(GrounderConfig("tabletop", device="cpu"))


def request_for(data: Path, out: Path, name: str = "refcoco", **more: object) -> BenchmarkRequest:
    base = BenchmarkRequest(data=name, root=data, split="train", out=out, limit=PHOTOS, shown=1)
    return dataclasses.replace(base, **more)


def one_sample(*phrases: PhraseTruth, **more: object) -> GroundingSample:
    return GroundingSample("one", Path("x.jpg"), (4, 6), "the red mug", phrases, **more)


def grounding(mask: np.ndarray, *, is_present: bool) -> Grounding:
    soft = mask.astype(np.float32)
    return Grounding("x", mask, soft, soft, 0.7, tight_box(mask), is_present=is_present)


def test_a_case_holds_what_the_data_set_says() -> None:
    mask, truth = np.zeros((2, 4, 6), bool)
    mask[:2, :2], truth[1:3, :2] = True, True
    there = PhraseTruth((4, 11), Rle.encode(truth), is_thing=True, is_plural=False)
    missing = PhraseTruth((0, 11), Rle.empty((4, 6)), is_absent=True)
    sample = one_sample(there, missing, is_sentence=True)
    found = [
        PhraseResult(grounding(mask, is_present=True)),
        PhraseResult(grounding(mask, is_present=False)),
    ]
    one, other = cases_of(3, sample, found)
    assert (one.intersection_px, one.union_px, one.words) == (2, 6, "red mug")
    assert (one.is_thing, one.is_plural, one.is_sentence) == (True, False, True)
    assert not one.said_absent and other.said_absent and other.is_absent
    assert (other.place, other.union_px) == ((3, 1), 4)


def test_words_a_model_refuses_are_wrong_either_way() -> None:
    there = PhraseTruth((4, 11), Rle.encode(np.ones((4, 6), bool)))
    missing = PhraseTruth((0, 11), Rle.empty((4, 6)), is_absent=True)
    blank = grounding(np.zeros((4, 6), bool), is_present=False)
    refused = PhraseResult(blank, refused="expected words this model knows")
    one, other = cases_of(0, one_sample(there, missing), [refused, refused])
    assert one.said_absent and not other.said_absent
    assert one.iou == other.iou == 0


def test_a_phrase_that_cannot_be_read_does_not_spoil_the_others(
    data: Path, grounder: Grounder
) -> None:
    sample = open_data("refcoco", data, "train")[0]
    rgb = load_rgb(sample)
    spans = [p.text_span for p in sample.phrases[:2]]
    text = sample.text[: spans[1][0]] + "дирижабль"
    unknown = PhraseTruth((spans[1][0], len(text)), sample.phrases[1].mask)
    changed = dataclasses.replace(sample, text=text, phrases=(sample.phrases[0], unknown))
    known, refused = SampleReader(grounder, "apart").ground(changed, rgb)
    assert not known.refused and "дирижабль" in refused.refused
    alone = SampleReader(grounder, "apart").ground(sample, rgb)[0]
    np.testing.assert_allclose(known.grounding.soft_mask, alone.grounding.soft_mask, atol=1e-4)
    assert not refused.grounding.mask.any()


def test_a_text_longer_than_the_model_is_refused_by_name(data: Path, grounder: Grounder) -> None:
    sample = open_data("refcoco", data, "train")[0]
    rgb, longer = load_rgb(sample), " the red mug." * grounder.lmm.max_tokens
    changed = dataclasses.replace(sample, text=sample.text + longer)
    found = SampleReader(grounder, "joined").ground(changed, rgb)
    assert len(found) == len(sample.phrases)
    assert all("tokens of image and text" in one.refused for one in found)
    assert all(case.refused and case.iou == 0 for case in cases_of(0, changed, found))
    apart = SampleReader(grounder, "apart").ground(changed, rgb)
    assert not any(one.refused for one in apart)


def test_phrases_joined_know_each_other_and_apart_do_not(data: Path, grounder: Grounder) -> None:
    sample = open_data("refcoco", data, "train")[0]
    rgb = load_rgb(sample)
    last = sample.phrases[-1]
    words = sample.words_of(last)
    by_engine = grounder.open(rgb).trace(
        grounder.lmm.text().reading(sample.prompt, words, [(0, len(words))])
    )
    apart = SampleReader(grounder, "apart").ground(sample, rgb)[-1].grounding.soft_mask
    joined = SampleReader(grounder, "joined").ground(sample, rgb)[-1].grounding.soft_mask
    np.testing.assert_allclose(apart, by_engine.refined_logits[0].sigmoid(), atol=1e-3)
    assert np.abs(joined - apart).max() > 0.01
    assert SampleReader(grounder, "auto").is_joined is (grounder.model.reading == "joined")


def test_a_question_is_answered_and_the_answer_is_the_mask(data: Path, grounder: Grounder) -> None:
    questions = open_data("reasonseg", data, "train")
    sample = next(s for s in (questions[i] for i in range(len(questions))) if s.is_sentence)
    (found,) = SampleReader(grounder).ground(sample, load_rgb(sample))
    asked = grounder.open(load_rgb(sample)).ask(sample.question)
    present = [g for g in asked.objects if g.is_present]
    assert found.answer == asked.text and present
    np.testing.assert_array_equal(found.grounding.mask, np.any([g.mask for g in present], axis=0))
    (read,) = SampleReader(grounder, answers=False).ground(sample, load_rgb(sample))
    assert read.answer == "" and read.grounding.phrase == sample.text


def test_results_are_files_that_stand_alone(data: Path, grounder: Grounder, tmp_path: Path) -> None:
    request = request_for(data, tmp_path, "grefcoco", limit=2)
    reader = SampleReader(grounder, "apart")
    measured, opened = run_benchmark(request, reader, ALONE)
    write_results(request, reader, measured, opened, 1)
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["scores"] == measured.scores and set(found["scores"]) > {"N-acc", "gIoU"}
    assert found["phrases"] == sum(len(opened[i].phrases) for i in range(2))
    assert str(data) not in json.dumps(found)
    page = (tmp_path / "index.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3 * page.count('<section class="card')
    assert "http" not in page and "<script" not in page
    score = f"{100 * found['scores']['gIoU']:.1f}"
    assert score in page and score in (tmp_path / "evaluation.md").read_text()


def test_an_evaluation_goes_on_where_it_was_cut_off(
    data: Path, grounder: Grounder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = SampleReader(grounder, "apart")
    whole, _ = run_benchmark(request_for(data, tmp_path / "a", limit=3), reader, ALONE)
    request = request_for(data, tmp_path / "b", limit=3)
    run_benchmark(dataclasses.replace(request, limit=2), reader, ALONE)
    path = tmp_path / "b" / "cases" / "0.jsonl"
    path.write_text(path.read_text()[:-40])  # killed while it wrote the second sample
    read: list[str] = []
    ground = SampleReader.ground

    def counting(
        self: SampleReader, sample: GroundingSample, rgb: np.ndarray
    ) -> list[PhraseResult]:
        read.append(sample.key)
        return ground(self, sample, rgb)

    monkeypatch.setattr(SampleReader, "ground", counting)
    again, opened = run_benchmark(request, reader, ALONE)
    assert read == [opened[1].key, opened[2].key]
    assert again.cases == whole.cases and again.scores == whole.scores
    other = dataclasses.replace(request, split="val")
    with pytest.raises(ConfigError, match="another"):
        run_benchmark(other, reader, ALONE)
    retrained = copy.deepcopy(grounder.heads)
    assert isinstance(retrained, Heads)
    retrained.text_proj.bias.data += 1e-3
    model = Grounder(grounder.config, grounder.model, grounder.lmm, retrained)
    with pytest.raises(ConfigError, match="weights"):
        run_benchmark(request, SampleReader(model, "apart"), ALONE)


def test_an_evaluation_reads_with_the_models_own_prompt(
    data: Path, grounder: Grounder, tmp_path: Path
) -> None:
    """As a robot's command and training do; the data sets' usual words are only a default."""
    asked = dataclasses.replace(grounder.model, prompt="what can i drink from?")
    other = Grounder.from_model(asked, grounder.config)
    sample = open_data("refcoco", data, "train")[0]
    rgb, words = load_rgb(sample), sample.words_of(sample.phrases[0])
    (found, *_) = SampleReader(other, "apart").ground(sample, rgb)
    (by_robot,) = other.open(rgb).ground([words])
    np.testing.assert_allclose(found.grounding.soft_mask, by_robot.soft_mask, atol=1e-3)
    before = SampleReader(grounder, "apart").ground(sample, rgb)[0].grounding.soft_mask
    assert np.abs(found.grounding.soft_mask - before).max() > 0.01
    own = dataclasses.replace(sample, prompt="tell me more.")  # a data set with words of its own
    assert own.prompt_for("x") == "tell me more." and sample.prompt_for("x") == "x"


def test_everything_that_changes_a_number_is_noticed(
    data: Path, grounder: Grounder, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(data, tmp_path / "data"))
    request = request_for(root, tmp_path / "out", limit=1)
    run_benchmark(request, SampleReader(grounder, "apart"), ALONE)

    def refusal(model: Grounder, **more: object) -> str:
        with pytest.raises(ConfigError) as caught:
            run_benchmark(dataclasses.replace(request, **more), SampleReader(model, "apart"), ALONE)
        return str(caught.value)

    for key, value in {
        "prompt": "what is there?",
        "merge": "max",
        "template": "USER: <image>\n{text}\nASSISTANT:",
        "max_image_tokens": 99,
    }.items():
        changed = dataclasses.replace(grounder.model, **{key: value})
        model = Grounder(grounder.config, changed, grounder.lmm, grounder.heads)
        assert f"model.{key}" in refusal(model)
    config = dataclasses.replace(grounder.config, quantisation="8bit")
    model = Grounder(config, grounder.model, grounder.lmm, grounder.heads)
    assert "settings.quantisation" in refusal(model)
    moved = root.rename(tmp_path / "moved")  # the same data elsewhere goes on
    again = dataclasses.replace(request, root=moved)
    run_benchmark(again, SampleReader(grounder, "apart"), ALONE)
    photo = open_data("refcoco", moved, "train")[0].image_path
    whole = photo.read_bytes()
    photo.write_bytes(whole + b" ")
    assert "data train2014" in refusal(grounder, root=moved)
    photo.write_bytes(whole)
    instances = moved / "refcoco" / "instances.json"
    instances.write_text(instances.read_text() + " ")
    assert "data refcoco/instances.json" in refusal(grounder, root=moved)


def test_several_splits_are_one_command(data: Path, tmp_path: Path) -> None:
    assert splits_of("refcoco", "all") == ("train", "val", "testA", "testB")
    assert splits_of("refcoco", "val, testA,val") == ("val", "testA")
    arguments = ["--data", "refcoco", "--root", str(data), "--split", "val,testA", "--shown", "1"]
    arguments += ["--limit", "1", "--device", "cpu", "--out", str(tmp_path / "out")]
    path = tmp_path / "e.json"
    assert main([*arguments, "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert list(found["splits"]) == ["val", "testA"]
    for split, part in found["splits"].items():
        own = json.loads((tmp_path / "out" / split / "evaluation.json").read_text())
        assert part == own and own["split"] == split


def test_broken_images_are_named_and_left_out(
    data: Path, grounder: Grounder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "data", range(4), ("refcoco",))
    sample = open_data("refcoco", tmp_path / "data", "train")[0]
    sample.image_path.write_bytes(b"no picture")
    request = request_for(tmp_path / "data", tmp_path / "out")
    measured, opened = run_benchmark(request, SampleReader(grounder, "apart"), ALONE)
    assert [s.key for s in measured.skipped] == [sample.key]
    assert {c.key for c in measured.cases} == {opened[i].key for i in range(1, len(opened))}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_give_the_numbers_of_one(
    data: Path, grounder: Grounder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(data, tmp_path / "one")
    alone, _ = run_benchmark(request, SampleReader(grounder, "joined"), ALONE)
    arguments = ["--data", "refcoco", "--root", str(data), "--split", "train", "--device", "cpu"]
    arguments += ["--out", str(tmp_path / "two"), "--limit", str(PHOTOS), "--shown", "1"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # What torchrun tells its processes; this one is the first of them.
    there = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    for name, value in {**there, "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    second = subprocess.Popen(
        [sys.executable, "-m", "training.evaluate", *arguments],
        cwd=ROOT,
        env={**os.environ, "RANK": "1", "LOCAL_RANK": "1"},
    )
    try:
        assert main(arguments) == 0
        assert second.wait(300) == 0
    finally:
        second.kill()
    found = json.loads((tmp_path / "two" / "evaluation.json").read_text())
    assert found["processes"] == 2
    assert found["scores"] == pytest.approx(alone.scores, abs=2e-3)
    assert found["phrases"] == len(alone.cases)
    files = sorted((tmp_path / "two" / "cases").glob("*.jsonl"))
    assert [len(f.read_text().splitlines()) for f in files] == [3, 2]
    both = CaseRecords(tmp_path / "two" / "cases", {}, "2").open()
    for one, other in zip(sorted(both, key=lambda c: c.place), alone.cases, strict=True):
        # The processes need not have equally many threads, so the last bits may differ.
        assert abs(one.intersection_px - other.intersection_px) <= 3
        assert abs(one.union_px - other.union_px) <= 3
        assert one.score == pytest.approx(other.score, abs=1e-3)
        same = {"intersection_px": 0, "union_px": 0, "score": 0.0}
        assert dataclasses.replace(one, **same) == dataclasses.replace(other, **same)


def test_shares_are_whole_and_uneven() -> None:
    shares = [EvaluationProcess(rank, 3).share(range(8)) for rank in range(3)]
    assert [len(share) for share in shares] == [3, 3, 2]
    assert sorted(i for share in shares for i in share) == list(range(8))


def test_what_is_wrong_with_a_command_is_said(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--data", "refcoco"]) == 2
    assert "--root" in capsys.readouterr().err
    assert main(["--data", "nowhere", "--root", str(data)]) == 2
    assert "known are: grefcoco" in capsys.readouterr().err
    for wrong in (["--limit", "0"], ["--option", "expressions"]):
        assert main(["--data", "refcoco", "--root", str(data), *wrong]) == 2
        assert "expected" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(FlmmError, match="torchrun"):
        EvaluationProcess.from_environment()


def test_a_part_of_a_publication_is_called_one(tmp_path: Path) -> None:
    request = request_for(tmp_path, tmp_path, "refcoco", split="val", limit=None)
    assert title_of(request, 1500) == "RefCOCO val"
    assert title_of(request, 7) == "RefCOCO val, 7 images instead of the published 1500"
    assert title_of(dataclasses.replace(request, limit=9), 1500) == (
        "RefCOCO val, only 9 of 1500 samples"
    )


def test_a_scene_is_a_sample_with_its_things_and_what_is_missing(
    grounder: Grounder, tmp_path: Path
) -> None:
    with Tabletop() as world:
        truth = world.render(900_003)
    sample = sample_of(truth)
    names = {f"the {o.name}": truth.mask(o) for o in truth.objects}
    for phrase in sample.phrases:
        mask, words = phrase.mask.decode(), sample.words_of(phrase)
        assert bool(mask.any()) is not phrase.is_absent
        if words in names:
            np.testing.assert_array_equal(mask, names.pop(words))
    assert not names and sum(p.is_absent for p in sample.phrases) == 2
    write_scene_page(grounder, SceneRange(900_003, 900_004), {"cIoU": "0.900"}, tmp_path, 1)
    page = (tmp_path / "index.html").read_text()
    assert "<td>0.900</td>" in page and page.count("data:image/jpeg;base64,") == 9
    assert "| cIoU | 0.900 |" in (tmp_path / "evaluation.md").read_text()
