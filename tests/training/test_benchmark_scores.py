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

"""The published metrics: cases worked out by hand, and other people's implementations."""

import dataclasses

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from training.evaluation.cases import Case, shared_pixels
from training.evaluation.pages.page import RIGHT, choose, compared
from training.evaluation.pages.tables import score_table
from training.evaluation.processes import in_order
from training.evaluation.published import published_for
from training.evaluation.scores import average_recall, generalised, narrative, reasoning, referring


def case(both: int, either: int, place: int = 0, **more: object) -> Case:
    base = Case(place, 0, f"image {place}", "words", both, either, 0.9, said_absent=False)
    return dataclasses.replace(base, **more)


def random_masks(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truths [count, 24, 32], and masks that agree with them more or less."""
    rng = np.random.default_rng(seed)
    truth = rng.random((count, 24, 32)) > 0.6
    flipped = rng.random(truth.shape) < np.linspace(0, 0.5, count)[:, None, None]
    return truth, truth ^ flipped


def cases_of_masks(mask: np.ndarray, truth: np.ndarray) -> list[Case]:
    pairs = [shared_pixels(a, b) for a, b in zip(mask, truth, strict=True)]
    return [case(both, either, n) for n, (both, either) in enumerate(pairs)]


def test_ignored_pixels_count_nowhere() -> None:
    mask, truth, ignored = np.zeros((3, 4, 4), bool)
    mask[:2], truth[1:3], ignored[:, :2] = True, True, True
    assert shared_pixels(mask, truth) == (4, 12)
    assert shared_pixels(mask, truth, ignored) == (2, 6)
    with pytest.raises(ValueError, match="one size"):
        shared_pixels(mask, truth[:2])


def test_referring_by_hand() -> None:
    found = referring([case(8, 16), case(4, 4), case(0, 8), case(9, 10)])
    assert found["cIoU"] == pytest.approx((8 + 4 + 0 + 9) / (16 + 4 + 8 + 10))
    assert found["mIoU"] == pytest.approx((0.5 + 1 + 0 + 0.9) / 4)
    assert (found["P@0.5"], found["P@0.8"], found["P@0.9"]) == (0.5, 0.5, 0.25)  # above, not at
    assert referring([]) == {}


def test_referring_equals_torchmetrics_and_pycocotools() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    truth, mask = random_masks(12)
    found = referring(cases_of_masks(mask, truth))
    overall = torchmetrics.JaccardIndex(task="binary")
    mean = torchmetrics.MeanMetric()
    for a, b in zip(mask, truth, strict=True):
        overall.update(torch.from_numpy(a).int(), torch.from_numpy(b).int())
        encoded = [coco.encode(np.asfortranarray(m, np.uint8)) for m in (a, b)]
        mean.update(float(coco.iou([encoded[0]], [encoded[1]], [0])[0, 0]))
    assert found["cIoU"] == pytest.approx(float(overall.compute()), abs=1e-6)
    assert found["mIoU"] == pytest.approx(float(mean.compute()), abs=1e-6)
    assert 0.3 < found["mIoU"] < 0.9


def test_average_recall_is_the_area_under_the_recall_curve() -> None:
    # Each threshold is counted by itself here, as the definition says it, on a coarser grid.
    ious = np.array([0.0, 0.131, 0.5, 0.77, 1.0])
    thresholds = (np.arange(2000) + 0.5) / 2000
    curve = [(ious >= t).mean() for t in thresholds]
    assert average_recall(ious) == pytest.approx(np.mean(curve), abs=5e-4)
    # Zero reaches the threshold zero, and one the last left edge: not one step more.
    assert average_recall(np.array([0.0])) == pytest.approx(1e-5, abs=1e-12)
    assert average_recall(np.array([1.0])) == pytest.approx(0.99999, abs=1e-12)
    assert average_recall(np.array([])) == 0.0


def test_average_recall_equals_another_area_rule() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.utilities.compute")
    truth, mask = random_masks(9, seed=1)
    ious = np.array([c.iou for c in cases_of_masks(mask, truth)])
    at = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    recall = (torch.from_numpy(ious)[:, None] >= at).double().mean(0)
    assert average_recall(ious) == pytest.approx(float(torchmetrics.auc(at, recall)), abs=1e-4)


def test_narrative_sorts_phrases_as_the_benchmark_does() -> None:
    cases = [
        case(10, 10, is_thing=True, is_plural=False),
        case(5, 10, is_thing=True, is_plural=True),
        case(2, 10, is_thing=False, is_plural=False),
        case(4, 10, is_thing=False, is_plural=True),  # a plural counts as things
    ]
    found = narrative(cases)
    expected = {
        "AR": (1 + 0.5 + 0.2 + 0.4) / 4,
        "AR thing": (1 + 0.5 + 0.4) / 3,
        "AR stuff": 0.2,
        "AR singular": (1 + 0.2) / 2,
        "AR plural": (0.5 + 0.4) / 2,
        "R@0.5": 0.25,
    }
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=2e-5), name
    assert "AR stuff" not in narrative(cases[:2])


def test_reasoning_counts_nothing_for_nothing_as_right() -> None:
    cases = [
        case(6, 8, is_sentence=False),
        case(0, 0, is_sentence=True),  # everything there is was labelled "ignore"
        case(1, 4, is_sentence=True),
    ]
    found = reasoning(cases)
    assert found["gIoU"] == pytest.approx((0.75 + 1 + 0.25) / 3)
    assert found["cIoU"] == pytest.approx(7 / 12)
    assert found["gIoU short"] == found["cIoU short"] == 0.75
    assert (found["gIoU long"], found["cIoU long"]) == (0.625, 0.25)
    refused = dataclasses.replace(cases[1], refused="expected words")
    assert reasoning([refused])["gIoU"] == 0


def test_generalised_follows_the_rules_for_no_target() -> None:
    cases = [
        case(8, 10),  # found
        case(6, 10, said_absent=True),  # there, but reported absent: all of its union counts
        case(0, 0, is_absent=True, said_absent=True),  # right
        case(0, 5, is_absent=True, said_absent=True),  # right too: these pixels count nowhere
        case(0, 7, is_absent=True),  # pointed at what is not there
        case(9, 10),
    ]
    found = generalised(cases)
    assert found["N-acc"] == pytest.approx(2 / 3)
    assert found["T-acc"] == pytest.approx(2 / 3)
    assert found["gIoU"] == pytest.approx((0.8 + 0 + 1 + 1 + 0 + 0.9) / 6)
    assert found["cIoU"] == pytest.approx((8 + 0 + 0 + 0 + 0 + 9) / (10 + 10 + 0 + 0 + 7 + 10))
    # At or above, of those with a target only.
    assert (found["P@0.7"], found["P@0.8"]) == (pytest.approx(2 / 3),) * 2
    assert found["P@0.9"] == pytest.approx(1 / 3)
    assert "N-acc" not in generalised(cases[:2])


def test_n_and_t_accuracy_equal_torchmetrics_recall() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    rng = np.random.default_rng(3)
    said, absent = rng.random((2, 40)) > 0.5
    cases = [
        case(1, 2, said_absent=bool(s), is_absent=bool(a))
        for s, a in zip(said, absent, strict=True)
    ]
    found = generalised(cases)
    arguments = torch.from_numpy(said).int(), torch.from_numpy(absent).int()
    recall = torchmetrics.functional.recall(*arguments, task="binary")
    specificity = torchmetrics.functional.specificity(*arguments, task="binary")
    assert found["N-acc"] == pytest.approx(float(recall))
    assert found["T-acc"] == pytest.approx(float(specificity))


def test_scores_do_not_depend_on_the_order() -> None:
    truth, mask = random_masks(30, seed=2)
    cases = cases_of_masks(mask, truth)
    shuffled = [cases[i] for i in np.random.default_rng(0).permutation(len(cases))]
    assert in_order(shuffled) == cases
    for measure in (referring, narrative, reasoning, generalised):
        assert measure(in_order(shuffled)) == measure(cases)
    with pytest.raises(ValueError, match="image 7 phrase 0 twice"):
        in_order([*cases, cases[7]])


def test_published_scores_stand_below_ours_and_say_so() -> None:
    scores = {"cIoU": 0.5, "mIoU": 0.25}
    table = score_table("RefCOCO val", "mine", scores, published_for("refcoco", "val"))
    assert table.rows[0] == ("mine (measured here)", "50.0", "25.0")
    assert ("F-LMM LLaVA-1.5-7B (published)", "75.2", "-") in table.rows
    assert all(row[0].endswith("(published)") for row in table.rows[1:])
    text = table.markdown()
    assert "| F-LMM DeepSeek-VL-7B (published) | 76.1 | - |" in text
    assert "none of them was measured here" in text
    assert score_table("x", "mine", scores, ()).notes == ()
    recalls = {p.method: p.percent for p in published_for("png", "val")}
    assert recalls["F-LMM DeepSeek-VL-1.3B"] == {"AR": 64.9, "AR thing": 63.4, "AR stuff": 68.3}
    assert not published_for("refcoco", "testA")


def test_best_and_worst_are_of_different_images_and_none_is_shown_twice() -> None:
    cases = [
        dataclasses.replace(case(n, 20, n), key=f"image {n // 2}", number=n % 2) for n in range(20)
    ]
    absent = case(0, 0, 99, is_absent=True, said_absent=True)
    chosen = choose([*cases, absent], 3)
    assert [c.index for c in chosen.best] == [99, 19, 17]
    assert [c.index for c in chosen.worst] == [0, 2, 4]
    shown = [c.place for _, some in chosen.sections() for c in some]
    assert len(set(shown)) == len(shown) == 9
    assert chosen == choose([*cases, absent], 3)
    assert len(choose(cases[:2], 6).worst) == 2 and not choose(cases[:2], 6).best


def test_the_comparison_has_a_colour_for_every_outcome() -> None:
    rgb = np.full((2, 4, 3), (200, 100, 0), np.uint8)  # grey 100
    mask = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], bool)
    truth = np.array([[1, 0, 1, 0], [0, 0, 0, 1]], bool)
    ignored = np.array([[0, 0, 0, 0], [0, 0, 0, 1]], bool)
    drawn = compared(rgb, mask, truth, ignored)
    right = np.round(0.4 * 100 + 0.6 * np.array(RIGHT)).astype(np.uint8)
    np.testing.assert_array_equal(drawn[0, 0], right)
    grey = (drawn == 100).all(axis=2)
    np.testing.assert_array_equal(grey, [[0, 0, 0, 1], [1, 1, 1, 1]])
    assert len({tuple(p) for p in drawn[0, :3]}) == 3
