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

"""The benchmark of a training step: its parts are a step's, and what it tells is what it found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.training.step import PHRASES_A_PHOTO, StepBenchmark, StepCost, main, told


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_step_changes_the_heads_and_nothing_frozen() -> None:
    bench = StepBenchmark("llava_next_7b", "cpu", is_quick=True)
    before = {n: p.clone() for n, p in bench.objective.named_parameters()}
    frozen = {n: p.clone() for n, p in bench.lmm.model.named_parameters()}
    cost = bench.cost(2, 1)
    assert min(cost.lmm_s, cost.encoder_s, cost.heads_s, cost.update_s) > 0
    changed = {n for n, p in bench.objective.named_parameters() if not torch.equal(p, before[n])}
    assert "heads.mask_decoder.out.weight" in changed and "heads.text_layer_weights" in changed
    assert not any("image_encoder" in name for name in changed)
    assert all(torch.equal(p, frozen[n]) for n, p in bench.lmm.model.named_parameters())


def test_a_photo_has_its_phrases() -> None:
    bench = StepBenchmark("llava_7b", "cpu", is_quick=True)
    given, truth = bench.given(0), bench.truth(0)
    assert len(given.spans) == PHRASES_A_PHOTO == len(truth.masks)
    text = bench.lmm.text()
    assert text.decode(given.ids[slice(*given.spans[1])]).text == "the blue cube"
    assert [int(mask.sum()) for mask in truth.masks] == [160 * 213] * PHRASES_A_PHOTO


def test_numbers_are_a_photos() -> None:
    cost = StepCost(4, 0.4, 0.2, 0.1, 0.02, 100.0, 250.0)
    assert cost.sample_s == pytest.approx(0.18) and cost.cached_sample_s == pytest.approx(0.03)
    column = list(told("x", [cost]).columns[1].cells)
    assert column == ["100.0", "50.0", "25.0", "5.0", "180.0", "30.0", "100", "250"]


def test_the_command_line_writes_what_it_measured(tmp_path: Path) -> None:
    where = tmp_path / "new" / "step.json"
    given = ["--quick", "--batches", "1", "--steps", "1", "--json", str(where)]
    assert main(given) == 0
    content = json.loads(where.read_text())
    assert content["costs"][0]["batch"] == 1 and content["machine"]["device"] == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda"]) == 2
    assert "expected a GPU" in capsys.readouterr().err
