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

"""The benchmark on a GPU: both sides give the same masks, and it measures from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engine import benchmark as bench
from benchmarks.engine import command
from benchmarks.engine.baseline import Baseline
from benchmarks.engine.models import ANSWER, PHRASES, QUESTION, build
from benchmarks.engine.rounds import picture
from flmm_ros.engine.answer import Grounding


@pytest.mark.parametrize("name", ["llava", "llava_next"])
def test_both_sides_give_the_same_masks(name: str, device: str) -> None:
    grounder = build(bench.shape_of(name, is_quick=True), device)
    image, baseline = picture(0), Baseline(grounder)
    scene = grounder.open(image)
    answer = scene.ask(QUESTION)
    assert answer.text == ANSWER
    pairs: list[tuple[Grounding, Grounding]] = [
        *zip(answer.objects, baseline.ask_in_one_pass(image, QUESTION), strict=True),
        *zip(answer.objects, baseline.ask_in_two_passes(image, QUESTION), strict=True),
        *zip(scene.ground(PHRASES[:1]), baseline.ground(image, PHRASES[:1]), strict=True),
    ]
    for a, b in pairs:
        assert a.phrase == b.phrase and a.score == pytest.approx(b.score, abs=2e-3)
        # SAM's image encoder runs in bfloat16 on a GPU, on both sides alike.
        np.testing.assert_allclose(a.soft_mask, b.soft_mask, atol=2e-3)
        assert np.ptp(a.soft_mask) > 1e-4


@pytest.mark.cuda
def test_it_measures_from_end_to_end(tmp_path: Path, device: str) -> None:
    where = tmp_path / "bench.json"
    given = ["--quick", "--shape", "7b", "--rounds", "1", "--warm-up", "--device", device]
    assert command.main([*given, "--json", str(where)]) == 0
    content = json.loads(where.read_text())
    assert content["machine"]["device"] != "cpu"
    for model in content["models"].values():
        values = {(row["section"], row["name"]): row["value"] for row in model["rows"]}
        peaks = "peak memory above the loaded model, 1 phrase"
        assert min(values[peaks, "engine"], values[peaks, "baseline"]) > 0
        assert model["shape"]["vocabulary"] == 32064
