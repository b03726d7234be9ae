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

"""A few steps of every training stage end in a model directory that the engine loads and uses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_stage_runs_and_the_engine_loads_the_result(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.embedded", "--smoke", "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    model = tmp_path / "tabletop"
    record = (model / "training.json").read_text()
    assert str(tmp_path) not in record
    assert set(json.loads(record)) == {"tower", "lmm", "sight", "heads"}
    assert {"cIoU", "selector phrase_F1"} <= set(json.loads(record)["heads"]["measured"])
    grounder = Grounder.from_config(GrounderConfig(model=str(model)))
    assert grounder.heads.has_selector
    scene = grounder.open(np.full((240, 320, 3), 127, np.uint8))
    found = scene.ground(["the red mug", "the blue ball"])
    assert [g.phrase for g in found] == ["the red mug", "the blue ball"]
    assert all(g.mask.shape == (240, 320) for g in found)
    # A second run has nothing left to train and says so by being done at once with every stage.
    again = subprocess.run(
        [*command, "--stage", "export"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr[-3000:]
