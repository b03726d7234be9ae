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

"""The benchmark compares what is equal, computes its ratios right, and runs from end to end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.engine import benchmark as bench
from benchmarks.engine import command
from benchmarks.engine.baseline import Baseline
from benchmarks.engine.memory import measure_peak_mib
from benchmarks.engine.models import ANSWER, PHRASES, QUESTION, build
from benchmarks.engine.roofline import roofline
from benchmarks.engine.rounds import picture
from benchmarks.engine.rows import ModelMeasurement, better_baseline, rows_of
from flmm_ros.engine.grounder import Grounder


@pytest.fixture(scope="module", params=["llava", "llava_next"])
def grounder(request: pytest.FixtureRequest) -> Grounder:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    return build(bench.shape_of(request.param, is_quick=True))


def test_both_sides_give_the_same_masks(grounder: Grounder) -> None:
    image, baseline = picture(0), Baseline(grounder)
    scene = grounder.open(image)
    answer = scene.ask(QUESTION)
    assert answer.text == ANSWER
    assert [g.phrase for g in answer.objects] == ["a red mug", "the table"]
    for ours, theirs in (
        (answer.objects, baseline.ask_in_one_pass(image, QUESTION)),
        (answer.objects, baseline.ask_in_two_passes(image, QUESTION)),
        (scene.ground(PHRASES[:1]), baseline.ground(image, PHRASES[:1])),
    ):
        assert [g.phrase for g in ours] == [g.phrase for g in theirs]
        for a, b in zip(ours, theirs, strict=True):
            assert a.score == pytest.approx(b.score, abs=1e-4)
            np.testing.assert_allclose(a.soft_mask, b.soft_mask, atol=1e-4)
            np.testing.assert_allclose(a.heat, b.heat, atol=1e-3)
            assert np.ptp(a.soft_mask) > 1e-4


def _measured(scale: float = 1.0, family: str = "llava") -> ModelMeasurement:
    """One round of simple numbers; `scale` slows the machine down as a whole."""
    stages = {"encode": 4.0, "generate": 1.0, "read": 0.25, "decode": 0.5, "see": 2.0, "refine": 1}
    commands = {
        "question": {**stages, "total": 8.75},
        "question again": {"total": 2.0},
        "baseline question, one pass": {"total": 17.5},
        "baseline question, two passes": {"total": 20.0},
        "limit question": {"total": 7.0},
        "1 phrase": {"encode": 4.0, "see": 2.0, "total": 8.0},
        "1 phrases again": {"total": 1.0},
        "4 phrases again": {"total": 2.0},
        "8 phrases again": {"total": 3.0},
        "baseline 1 phrase": {"total": 12.0},
        "baseline 8 phrases": {"total": 18.0},
        "limit 1 phrase": {"total": 6.4},
    }
    forwards = {
        "plain SDPA": {"total": 4.0},
        "recording rows": {"total": 4.04},
        "eager, all kept": {"total": 6.0},
    }
    slow = {n: {k: v * scale for k, v in c.items()} for n, c in commands.items()}
    peaks = {"plain SDPA with cache": 50.0, "engine": 60.0, "baseline": 450.0}
    return ModelMeasurement(family, bench.SHAPES[family], [slow], [forwards], peaks)


def test_ratios_and_goals_follow_from_the_rounds() -> None:
    rows = {(r.section, r.name): r for r in rows_of(_measured())}
    expected = {
        ("commands: question", "baseline / first"): (2.0, True),
        ("commands: question", "five on one image: baseline / ours"): (87.5 / 16.75, True),
        ("commands: question", "baseline"): (17.5, None),
        ("commands: question", "first / limit"): (1.25, False),
        ("commands: 1 phrase", "first / again"): (8.0, True),
        ("commands: 1 phrase", "first / limit"): (1.25, False),
        ("phrases", "8, new image: baseline / ours"): (2.0, None),
        ("phrases", "8 / 1, new image"): (9 / 7, True),
        ("phrases", "8 / 1, known image"): (3.0, False),
        ("answer first, then read", "answer and read / answer, new image"): (1.05, True),
        ("answer first, then read", "answer and read / answer, known image"): (1.25, None),
        ("answer first, then read", "heads, 2 phrases, with SAM's image encoder"): (3.5, None),
        ("one forward of image and phrase", "recording rows / plain SDPA"): (1.01, True),
        ("peak memory above the loaded model, 1 phrase", "engine / baseline"): (40 / 3, False),
        (
            "peak memory above the loaded model, 1 phrase",
            "the same, above plain SDPA with cache",
        ): (2.5, True),
    }
    for key, (value, holds) in expected.items():
        assert rows[key].value == pytest.approx(value), key
        assert rows[key].holds is holds, key


def test_ratios_are_those_of_one_round_on_a_machine_that_slows_down() -> None:
    calm, busy = _measured(), _measured(scale=3.0)
    both = ModelMeasurement(
        "llava", calm.shape, [*calm.commands, *busy.commands], calm.forwards, calm.peaks_mib
    )
    once = {(r.section, r.name): r.value for r in rows_of(calm) if r.unit == "x"}
    twice = {(r.section, r.name): r.value for r in rows_of(both) if r.unit == "x"}
    assert twice == pytest.approx(once)


@pytest.mark.parametrize(
    ("one_pass_s", "two_passes_s", "better"),
    [([3.0, 9.0, 3.0], [4.0, 4.0, 4.0], "one pass"), ([5.0] * 3, [4.0] * 3, "two passes")],
)
def test_the_baseline_is_the_faster_of_its_two_ways(
    one_pass_s: list[float], two_passes_s: list[float], better: str
) -> None:
    names = ("baseline question, one pass", "baseline question, two passes")
    rounds = [
        {name: {"total": s} for name, s in zip(names, pair, strict=True)}
        for pair in zip(one_pass_s, two_passes_s, strict=True)
    ]
    assert better_baseline(rounds) == better


def test_an_answer_that_was_cut_off_is_refused_by_the_baseline(grounder: Grounder) -> None:
    config = dataclasses.replace(grounder.config, max_new_tokens=2)
    short = Grounder(config, grounder.model, grounder.lmm, grounder.heads)
    for ask in (Baseline(short).ask_in_one_pass, Baseline(short).ask_in_two_passes):
        with pytest.raises(ValueError, match="expected an answer that ends by itself"):
            ask(picture(0), QUESTION)


def test_a_tiled_model_has_the_higher_goals() -> None:
    rows = rows_of(_measured(family="llava_next"))
    goals = {r.name: r.goal for r in rows if r.section == "commands: question"}
    assert goals["baseline / first"] == 3.0
    assert goals["five on one image: baseline / ours"] == 8.0


def test_the_roofline_is_that_of_the_card() -> None:
    found = _measured()
    assert roofline(found, "cpu") == {}
    weights = 12 * (4 * 1024**2 + 3 * 1024 * 2816)
    share = roofline(found, "NVIDIA H100 80GB HBM3")
    assert share["encode"] == pytest.approx(2 * weights * 576 / 4.0 / 989e12)
    assert share["generate"] == pytest.approx(2 * weights * 7 / 1.0 / 3.35e12)


def test_it_runs_and_writes_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(name: str, way: str, settings: bench.BenchmarkSettings) -> float:
        return measure_peak_mib(build(bench.shape_of(name, is_quick=True)), way)

    monkeypatch.setattr(bench, "peak_in_child", here)  # a process each takes long to start
    monkeypatch.setattr(bench, "NAMES", {"12-layer": ("llava",)})
    where = tmp_path / "new" / "bench.json"
    assert command.main(["--quick", "--rounds", "1", "--json", str(where)]) == 0
    shown = capsys.readouterr().out
    content = json.loads(where.read_text())
    assert {"processor", "torch", "transformers", "commit"} <= content["machine"].keys()
    assert content["settings"]["rounds"] == "1"
    (model,) = content["models"].values()
    assert all(row["value"] > 0 or row["unit"] in ("MiB", "%") for row in model["rows"])
    again = ["--from-json", str(where), "--plot", str(tmp_path / "bench.png")]
    assert command.main(again) == 0
    assert capsys.readouterr().out == shown
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--device", "cuda", "--shape", "7b"]) == 2
    assert "expected a GPU" in capsys.readouterr().err
