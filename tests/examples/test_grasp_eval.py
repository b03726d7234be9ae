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

"""Grasping by instruction: statistics and reasons by value; two worlds in which physics decides."""

import json
from pathlib import Path

import numpy as np
import pytest
from invented_answers import CUBE_M, MUG_M, answer_of, target_at

from examples.grasping import evaluation as grasp_eval
from examples.grasping.in_process import InProcessArm, InProcessClient
from examples.grasping.outcome import (
    ASKED_BACK,
    BAD_GRASP,
    DONE,
    MISPLACED,
    MOTION,
    NOT_FOUND,
    WRONG_THING,
    reason_of,
)
from examples.grasping.tasks import ABSENT, PICK, PUT, GraspTask, task_in
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.ros.client.grounding_result import GroundingResult
from flmm_sim.arm.world import GraspWorld

SEED, PUT_SEED = 2_000_000, 2_000_106
TASK = GraspTask(PUT, 0, "put the red mug behind the blue cube", ("red mug",), (0.1, 0.1))
SEEN = answer_of(target_at(*MUG_M), target_at(*CUBE_M))


@pytest.fixture(scope="module")
def grounder() -> Grounder:
    return Grounder.from_config(GrounderConfig("tabletop"))


def test_the_interval_is_wilsons() -> None:
    low, high = grasp_eval.wilson(8, 10)  # worked by hand: (0.8 + 0.19207 -+ 0.3003) / 1.38415
    assert (low, high) == (pytest.approx(0.4902, abs=1e-3), pytest.approx(0.9433, abs=1e-3))
    assert grasp_eval.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("seen", "touched", "grips", "puts", "reason"),
    [
        (answer_of(), "", 0, 0, NOT_FOUND),
        (answer_of(target_at(*MUG_M), is_ambiguous=True), "", 0, 0, ASKED_BACK),
        (SEEN, "green duck", 1, 1, WRONG_THING),
        (SEEN, "red mug", 0, 0, MOTION),
        (answer_of(target_at(*MUG_M, grasps=0)), "", 0, 0, BAD_GRASP),
        (SEEN, "red mug", 2, 0, BAD_GRASP),
        (SEEN, "red mug", 2, 1, MISPLACED),
    ],
)
def test_failures_have_reasons(
    seen: GroundingResult, touched: str, grips: int, puts: int, reason: str
) -> None:
    assert reason_of(TASK, seen, touched, grips, puts) == reason


def test_the_summary_counts_what_was_asked_for(tmp_path: Path, grounder: Grounder) -> None:
    evaluation = grasp_eval.Evaluation(grounder, tmp_path)
    for seed, kind, outcome, off_m in [
        (1, PUT, DONE, 0.01),
        (2, PUT, DONE, 0.002),
        (3, PUT, MISPLACED, 0.04),
        (4, PUT, NOT_FOUND, 0.2),
        (5, PUT, DONE, 0.0),  # another seed
        (1, PICK, DONE, None),
    ]:
        evaluation.records.append({"seed": seed, "kind": kind, "outcome": outcome, "off_m": off_m})
    summary = evaluation.summary(range(1, 5), [PUT, ABSENT])
    assert summary["seeds"] == [1, 5]
    assert summary[PUT]["n"] == 4
    assert summary[PUT]["right"] == 0.5
    assert summary[PUT]["outcomes"] == {DONE: 2, MISPLACED: 1, NOT_FOUND: 1}
    assert summary[PUT]["off_cm"][::2] == [1.0, 4.0]  # of what was put: median, farthest
    assert summary[ABSENT]["n"] == 0
    assert PICK not in summary
    rows = [list(column.cells) for column in grasp_eval.table_of(summary).columns]
    assert rows[0] == [PUT, ABSENT]
    assert rows[4] == ["1 not found, 1 misplaced", ""]


def test_an_arm_in_this_process_goes_where_it_can() -> None:
    with GraspWorld(SEED) as world:
        arm = InProcessArm(world)
        down = np.diag([1.0, -1.0, -1.0, 1.0])
        down[:3, 3] = 0.0, 0.0, 0.25
        assert arm.move(down)
        np.testing.assert_allclose(arm.T_world_tip[:3, 3], down[:3, 3], atol=2e-3)
        since_s = world.time_s
        down[0, 3] = 2.0
        assert not arm.move(down)
        arm.open_to(0.03)
        assert world.time_s - since_s == pytest.approx(1.5)
        assert arm.width_m == pytest.approx(0.03, abs=0.002)
        arm.open_to(0.0)
        assert not arm.holds_something
        assert (arm.moves, arm.grips, arm.puts) == (2, 1, 0)


@pytest.mark.slow
def test_a_client_in_this_process_answers_as_the_node_does(grounder: Grounder) -> None:
    with GraspWorld(PUT_SEED) as world:
        task = task_in(world, PUT)
        assert task is not None
        client = InProcessClient(grounder, world)
        answer = client.ground(task.instruction)
        assert answer.is_ok
        assert answer.command == task.instruction
        assert [found.phrase for found in answer.present] == ["the orange bunny", "the blue mug"]
        for found in answer.present:
            assert found.target is not None
            thing = world.find(found.phrase.removeprefix("the "))
            assert thing is not None
            place = world.T_world_camera @ np.append(found.target.position_m, 1.0)
            np.testing.assert_allclose(place[:3], world.middle_m(thing), atol=0.015)
            assert found.target.grasps
        assert client.asked[0].picture.ids.shape == answer.present[0].mask.shape


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thing_is_picked_up_and_an_absent_one_is_left_alone(
    tmp_path: Path, grounder: Grounder
) -> None:
    (tmp_path / "grasp.gif").touch()  # no film: it takes most of the time
    evaluation = grasp_eval.Evaluation(grounder, tmp_path)
    kinds = [PICK, ABSENT]
    evaluation.run([SEED], kinds)
    there, absent = evaluation.records
    assert (there["outcome"], there["kind"]) == (DONE, PICK)
    assert there["rise_m"] > 0.1
    assert (absent["outcome"], absent["touched"], absent["kind"]) == (DONE, "", ABSENT)
    assert evaluation.contact_sheet([SEED], kinds).exists()
    again = grasp_eval.Evaluation(evaluation.grounder, tmp_path)
    again.run([SEED], kinds)  # nothing is tried twice
    assert len((tmp_path / "attempts.jsonl").read_text().splitlines()) == 2
    summary = json.loads(json.dumps(again.summary([SEED], kinds)))
    assert summary[PICK]["right"] == summary[ABSENT]["right"] == 1.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thing_is_put_where_it_was_told(tmp_path: Path, grounder: Grounder) -> None:
    (tmp_path / "grasp.gif").touch()
    evaluation = grasp_eval.Evaluation(grounder, tmp_path)
    evaluation.run([PUT_SEED], [PUT])  # a bunny nearly as long as the fingers open
    (record,) = evaluation.records
    assert record["outcome"] == DONE
    assert record["off_m"] < 0.02
    assert evaluation.summary([PUT_SEED], [PUT])[PUT]["off_cm"][0] < 2.0
