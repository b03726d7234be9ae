"""Picking up by instruction: statistics by value, and one world in which physics decides."""

import json
from pathlib import Path

import pytest

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.tools import grasp_eval
from flmm_ros.tools.grasp_attempt import NOT_FOUND, PICKED

SEED = 2_000_000


def test_the_interval_is_wilsons() -> None:
    low, high = grasp_eval.wilson(8, 10)  # worked by hand: (0.8 + 0.19207 -+ 0.3003) / 1.38415
    assert (low, high) == (pytest.approx(0.4902, abs=1e-3), pytest.approx(0.9433, abs=1e-3))
    assert grasp_eval.wilson(0, 0) == (0.0, 1.0)


def test_one_thing_is_there_and_the_other_is_not() -> None:
    there, absent = grasp_eval.instructions(SEED)
    with grasp_eval.GraspWorld(SEED) as world:
        assert world.find(there) is not None
        assert world.find(absent) is None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thing_is_picked_up_and_an_absent_one_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "grasp.gif").touch()  # no film: it takes most of the time
    evaluation = grasp_eval.Evaluation(Grounder.from_config(GrounderConfig("tabletop")), tmp_path)
    evaluation.run([SEED])
    there, absent = evaluation.records
    assert there["outcome"] == PICKED
    assert float(str(there["rise_m"])) > 0.1
    assert (absent["outcome"], absent["touched"]) == (NOT_FOUND, "")
    assert evaluation.contact_sheet([SEED]).exists()
    again = grasp_eval.Evaluation(evaluation.grounder, tmp_path)
    again.run([SEED])  # nothing is tried twice
    assert len((tmp_path / "attempts.jsonl").read_text().splitlines()) == 2
    summary = json.loads(json.dumps(again.summary([SEED])))
    assert summary["there"]["picked_up"] == summary["absent"]["nothing_touched"] == 1.0
