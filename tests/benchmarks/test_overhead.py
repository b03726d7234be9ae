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

"""The arithmetic of the overhead benchmark, and the engine that does next to nothing."""

from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("rclpy") is None:
    pytest.skip("no rclpy here", allow_module_level=True)

from benchmarks.node.overhead import PairTimes, percentiles, summary
from benchmarks.node.plain_engine import PlainGrounder, engine_ms
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.progress import Stage


def test_overhead_is_the_difference_within_each_pair():
    pairs = PairTimes(direct=[1.0, 2.0], node=[4.0, 9.0], work=[1.5, 2.0], wait=[0.5, 1.0])
    assert pairs.overhead.tolist() == [3.0, 7.0]
    assert pairs.way.tolist() == [2.0, 6.0]
    content = summary({"topic": pairs, "action": pairs})
    assert content["topic"]["pairs"] == 2
    assert content["topic"]["overhead_ms"]["p50"] == 5.0
    assert content["action"]["wait_ms"]["max"] == 1.0


def test_percentiles():
    assert percentiles(np.arange(101.0)) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


def test_the_plain_engine_finds_the_middle_and_says_how_long_it_took():
    seen = []
    scene = PlainGrounder(GrounderConfig()).open(np.zeros((48, 60, 3), np.uint8))
    answer = scene.chat().say("anything", on_stage=lambda progress: seen.append(progress.stage))
    (found,) = answer.objects
    assert found.box_xyxy_px == (20, 16, 40, 32)
    assert found.mask.sum() == 20 * 16 and found.mask[16, 20] and not found.mask[15, 20]
    assert seen == [Stage.ENCODE, Stage.READ, Stage.REFINE]
    assert engine_ms(answer.text) == pytest.approx(answer.timings_ms["total"], abs=1e-3)
    with pytest.raises(ValueError, match="expected an answer of the plain engine"):
        engine_ms("here")
