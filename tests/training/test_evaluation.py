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

"""The examination itself, on scenes and answers whose result is known beforehand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from flmm_ros.engine.answer import Answer, Grounding, Intent
from flmm_ros.engine.chat import Chat
from flmm_ros.engine.config import find_model
from flmm_ros.engine.heads.checkpoint import load_heads
from flmm_ros.engine.heads.localisation import Localisation
from flmm_ros.engine.masks.mask import tight_box
from flmm_sim.tabletop.tabletop import SceneObject, TabletopScene
from training.embedded.evaluation.conversation import (
    ALONE,
    evaluate_answers,
    evaluate_conversation,
    plain,
    true_names,
)
from training.embedded.evaluation.report import rows_of, table_of
from training.embedded.evaluation.results import AmbiguousPhrase, TabletopResults
from training.embedded.evaluation.tabletop import ambiguous_phrase, evaluate_ambiguous
from training.embedded.language.language import MAKERS
from training.embedded.language.samples import Mention, TextSample
from training.evaluate import main
from training.evaluation.metrics import ScoreBin
from training.evaluation.pages.plots import draw_reliability

UPPER_PX = 400  # rows of the reliability diagram's upper panel
PLACES = {1: slice(0, 20), 2: slice(40, 60), 3: slice(80, 100)}  # columns of each label


def scene_of(*kinds: str) -> TabletopScene:
    """Things side by side, 20 x 20 pixels each."""
    labels = np.zeros((40, 120), np.uint8)
    objects = []
    for label, (kind, color) in enumerate(zip(kinds, ("red", "blue", "green"), strict=False), 1):
        labels[10:30, PLACES[label]] = label
        at = (PLACES[label].start + 9.5, 19.5)
        objects.append(SceneObject(kind, color, label, (0, 0, 0), at, 400))
    rgb = np.zeros((40, 120, 3), np.uint8)
    depth_m = np.ones((40, 120), np.float32)
    return TabletopScene(7, rgb, depth_m, labels, tuple(objects), np.eye(3), np.eye(4))


def grounding(mask: np.ndarray, candidates: tuple[Grounding, ...] = ()) -> Grounding:
    soft = mask.astype(np.float32)
    box = tight_box(mask)
    return Grounding(
        "x", mask, soft, soft, 0.9, box, is_ambiguous=bool(candidates), candidates=candidates
    )


def candidates_at(truth: TabletopScene, *labels: int) -> Grounding:
    masks = [truth.labels == label for label in labels]
    return grounding(np.any(masks, axis=0), tuple(grounding(mask) for mask in masks))


class Pointing:
    """Stands for a scene whose model always finds the same."""

    def __init__(self, found: Grounding) -> None:
        self.found = found
        self.asked: list[str] = []

    def ground(self, phrases: list[str]) -> list[Grounding]:
        self.asked += phrases
        return [self.found for _ in phrases]


class Speaking:
    """Stands for a scene whose model says what it is told to."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.history: tuple = ()

    def ask(self, command, intent=None, on_stage=None, *, history=()) -> Answer:
        assert intent is Intent.ANSWER
        self.history = history
        return Answer(self.answers.get(command, "nonsense"), (), intent)

    def chat(self) -> Chat:
        return Chat(self)


def test_a_crowd_counts_candidates_and_the_things_they_lie_on() -> None:
    truth = scene_of("cube", "cube", "cube")
    assert ambiguous_phrase(candidates_at(truth, 1, 2, 3), truth, "cube") == AmbiguousPhrase(
        3, 3, 3
    )
    assert ambiguous_phrase(candidates_at(truth, 1, 3), truth, "cube") == AmbiguousPhrase(3, 2, 2)
    assert ambiguous_phrase(grounding(truth.labels == 2), truth, "cube") == AmbiguousPhrase(3, 0, 0)
    beside = grounding(truth.labels > 0, tuple(grounding(truth.labels == 0) for _ in range(3)))
    assert ambiguous_phrase(beside, truth, "cube") == AmbiguousPhrase(3, 3, 0)


def test_only_kinds_of_which_several_lie_there_are_crowds() -> None:
    truth = scene_of("cube", "ball", "cube")
    scene, notes = Pointing(candidates_at(truth, 1, 3)), TabletopResults()
    evaluate_ambiguous(notes, scene, truth)
    assert scene.asked == ["the cube"]
    assert notes.crowds == [AmbiguousPhrase(2, 2, 2)]
    evaluate_ambiguous(notes, scene, scene_of("cube", "ball", "mug"))
    assert notes.crowds == [AmbiguousPhrase(2, 2, 2)]


def test_names_of_missing_things_are_no_names_to_find() -> None:
    there, missing = Mention((4, 15), (2,)), Mention((20, 33), ())
    assert true_names(TextSample("x", "?", "", (), (there, missing))) == [(4, 15)]


def test_spacing_case_and_the_final_stop_are_no_mistakes() -> None:
    assert plain("Yes , the red mug .") == plain("yes, the red mug") == "yes the red mug"


def test_answers_are_compared_with_the_truth() -> None:
    truth = scene_of("cube", "ball", "mug")
    asked: dict[str, str] = {}

    class Listening(Speaking):
        def ask(self, command, *rest, **more) -> Answer:
            asked[command] = ""
            return super().ask(command, *rest, **more)

    wrong, right = TabletopResults(), TabletopResults()
    evaluate_answers(wrong, Listening({}), truth)
    assert set(wrong.answers) <= set(ALONE) and len(wrong.mistakes) == len(asked)
    true = {m.split("'")[1]: m.rsplit("not '")[1].rstrip("'") for m in wrong.mistakes}
    evaluate_answers(right, Speaking(true), truth)
    assert right.mistakes == []
    assert all(v == [True] for v in right.answers.values())
    assert all(v == [False] for v in wrong.answers.values())


def test_a_conversation_counts_the_turns_that_follow() -> None:
    truth = scene_of("cube", "ball", "mug")
    rng = np.random.default_rng([truth.seed, 3])
    sample = next(s for s in (MAKERS["dialogue"][0](truth.objects, rng) for _ in range(20)) if s)
    turns = (*sample.before, sample)
    scene, notes = Speaking({t.prompt: t.answer for t in turns}), TabletopResults()
    evaluate_conversation(notes, scene, truth)
    assert notes.conversations == [[True] * len(sample.before)]
    assert [t.answer for t in scene.history] == [t.answer for t in sample.before]
    opening_only = Speaking({turns[0].prompt: turns[0].answer})
    evaluate_conversation(notes, opening_only, truth)
    assert notes.conversations[1] == [False] * len(sample.before)
    found = notes.summary()["conversations"]
    assert found == {"turns": 0.5, "whole": 0.5, "n": 2}


def test_shares_of_crowds_and_false_alarms_by_hand() -> None:
    notes = TabletopResults()
    notes.crowds += [
        AmbiguousPhrase(2, 2, 2),
        AmbiguousPhrase(3, 2, 2),
        AmbiguousPhrase(2, 2, 1),
        AmbiguousPhrase(2, 0, 0),
    ]
    notes.false_alarms += [True, False, False, False, False]
    found = notes.summary()["ambiguity"]
    assert found == {
        "reported": 0.75, "right_number": 0.5, "all_matched": 0.25, "n": 4,
        "false_alarms": 0.2, "unique_n": 5,
    }  # fmt: skip


def test_the_table_leaves_out_what_was_not_examined() -> None:
    notes = TabletopResults()
    mask = np.ones((4, 4), bool)
    notes.masks.add(mask, mask)
    notes.scores, notes.right = [0.9], [True]
    rows = rows_of(notes.summary())
    assert rows["cIoU"] == "1.000" and rows["calibration error"] == "0.100"
    assert not [r for r in rows if "conversation" in r or "names" in r or "several" in r]


def test_a_reliability_diagram_shows_every_bin(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    blue = []
    for n, bins in enumerate(([], [ScoreBin(0.2, 0.1, 5)], [ScoreBin(0.7, 0.8, 9)] * 2)):
        draw_reliability(bins, tmp_path / f"{n}.png")
        picture = cv2.imread(str(tmp_path / f"{n}.png")).astype(int)
        assert picture.shape == (600, 480, 3)
        blue.append(np.argwhere((picture[..., 0] - picture[..., 2]) > 80))  # BGR
    assert len(blue[0]) == 0
    marks = [points[points[:, 0] < UPPER_PX] for points in blue[1:]]
    assert marks[0][:, 1].mean() < marks[1][:, 1].mean()  # a low score stands left
    assert marks[0][:, 0].mean() > marks[1][:, 0].mean()  # and rarely right, low


def test_the_command_line_examines_the_embedded_model(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    assert main(["--tabletop", "900000:900003", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["seeds"] == [900000, 900003]
    assert found["masks"]["n"] == found["ambiguity"]["unique_n"] > 5
    assert found["masks"]["mIoU"] > 0.5 and found["answers"]["questions"] > 0.6
    assert found["conversations"]["n"] == 3
    rules = found["phrases_of_answers"]["rules"]
    assert rules["n"] > 10 and rules["token_F1"] > 0.9


def test_another_model_fills_a_second_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded = find_model("tabletop")
    lmm = load_heads(embedded.heads).lmm
    Localisation(lmm, (lmm.map_channels - 1,), (1.0,)).save(tmp_path / "localisation.json")
    (tmp_path / "model.yaml").write_text(
        f"name: free\nlmm: {embedded.lmm}\nheads: training_free\nsam: {embedded.heads}\n"
    )
    path = tmp_path / "e.json"
    seeds = ["--tabletop", "900000:900001", "--masks-only", "--json", str(path)]
    assert main([*seeds, "--beside", str(tmp_path)]) == 0
    header = next(line for line in capsys.readouterr().out.splitlines() if "metric" in line)
    assert header.index("metric") < header.index("tabletop") < header.index("free")
    found = json.loads(path.read_text())
    beside = found["beside"]
    assert (found["model"], beside["model"]) == ("tabletop", "free")
    assert beside["masks"]["n"] == found["masks"]["n"] > 0
    assert beside["masks"]["mIoU"] != found["masks"]["mIoU"]
    table = table_of(found, {**beside, "calibration_error": None})
    shown = Console(width=100, record=True)
    shown.print(table)
    text = shown.export_text()
    for column in (found, beside):
        assert f"{column['masks']['mIoU']:.3f}" in text
    (gap,) = (line for line in text.splitlines() if "calibration error" in line)
    assert gap.rstrip(" │|").endswith("-")


def test_a_second_model_that_cannot_be_loaded_is_said_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--tabletop", "0:1000", "--beside", "no_such_model"]) == 2
    assert "known:" in capsys.readouterr().err


def test_nothing_to_examine_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tabletop", "5:5"]) == 2
    assert "expected 0 <= FIRST < STOP" in capsys.readouterr().err
    assert main(["--tabletop", "0:1", "--model", "no_such_model"]) == 2
    assert "known:" in capsys.readouterr().err
