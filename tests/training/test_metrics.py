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

"""Metrics against cases worked out by hand."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from training.evaluation.metrics import (
    MaskMetrics,
    ScoreBin,
    SpanMetrics,
    absence_f1,
    calibration_error,
    score_bins,
)
from training.heads.losses import dice_loss, iou, mask_loss, score_loss


def box(height: int, width: int, y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_mask_metrics_by_hand() -> None:
    metrics = MaskMetrics()
    # 4x4 against its right half: 8 / 16. A perfect 2x2. A miss: 0 / 8.
    assert metrics.add(box(8, 8, 0, 0, 4, 4), box(8, 8, 0, 2, 4, 4)) == 0.5
    assert metrics.add(box(8, 8, 0, 0, 2, 2), box(8, 8, 0, 0, 2, 2)) == 1.0
    assert metrics.add(box(8, 8, 0, 0, 2, 2), box(8, 8, 4, 4, 6, 6)) == 0.0
    found = metrics.summary()
    assert found["cIoU"] == pytest.approx((8 + 4 + 0) / (16 + 4 + 8))
    assert found["mIoU"] == pytest.approx(0.5)
    assert found["P@0.5"] == pytest.approx(1 / 3)  # above, not at
    assert found["n"] == 3


def test_iou_equals_pycocotools() -> None:
    rng = np.random.default_rng(0)
    metrics = MaskMetrics()
    for _ in range(20):
        a, b = rng.random((2, 30, 40)) > 0.6
        ours = metrics.add(a, b)
        encoded = [coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in (a, b)]
        assert ours == pytest.approx(float(coco.iou([encoded[0]], [encoded[1]], [0])[0, 0]))


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        MaskMetrics().add(box(8, 8, 0, 0, 2, 2), box(8, 9, 0, 0, 2, 2))


def test_absence_by_hand() -> None:
    found = absence_f1([True, True, False, False], [True, False, True, False])
    assert (found["precision"], found["recall"], found["F1"]) == (0.5, 0.5, 0.5)
    assert absence_f1([False, False], [True, True])["F1"] == 0.0


def test_calibration_by_hand() -> None:
    # 0.25 is half right: gap 0.25. 0.95 is all right: gap 0.05. Both hold half of the scores.
    bins = score_bins([0.25, 0.25, 0.95, 0.95], [True, False, True, True])
    assert bins == [ScoreBin(0.25, 0.5, 2), ScoreBin(0.95, 1.0, 2)]
    assert calibration_error(bins) == pytest.approx(0.15)
    assert score_bins([1.0], [True]) == [ScoreBin(1.0, 1.0, 1)]  # the last bin includes 1
    assert calibration_error(score_bins([1.0], [True])) == 0.0
    assert calibration_error([]) == 0.0


def test_span_metrics_by_hand() -> None:
    metrics = SpanMetrics()
    # Tokens: 3 in common of 4 found and 5 true. Spans: (4, 6) is the only one with both ends right.
    metrics.add([(0, 1), (4, 6), (9, 10)], [(0, 2), (4, 6), (7, 8)])
    found = metrics.summary()
    assert found["token_F1"] == pytest.approx(2 * 3 / (4 + 5))
    assert found["phrase_F1"] == pytest.approx(2 * 1 / (3 + 3))
    assert found["n"] == 3
    metrics.add([], [])  # an answer that names nothing, rightly found to name nothing
    assert metrics.summary() == found
    metrics.add([(0, 2)], [])
    assert metrics.summary()["token_F1"] == pytest.approx(2 * 3 / (6 + 5))


def test_losses_by_hand() -> None:
    target = torch.zeros(1, 2, 2)
    target[0, 0] = 1
    sure = torch.where(target > 0, 50.0, -50.0)
    assert mask_loss(sure, target).item() == pytest.approx(0.0, abs=1e-6)
    # probability 1/2 everywhere: overlap 1, sizes 2 and 2: 1 - (2 + 1) / (2 + 2 + 1)
    assert dice_loss(torch.zeros(1, 2, 2), target).item() == pytest.approx(1 - 3 / 5)
    assert mask_loss(torch.zeros(1, 2, 2), target).item() == pytest.approx(
        np.log(2) + 0.4, abs=1e-6
    )


def test_an_absent_phrase_wants_an_empty_mask_and_score_zero() -> None:
    nothing, empty = torch.zeros(1, 4, 4), torch.full((1, 4, 4), -50.0)
    assert mask_loss(empty, nothing).item() == pytest.approx(0.0, abs=1e-6)
    assert mask_loss(-empty, nothing).item() > 1
    assert iou(empty > 0, nothing > 0.5).item() == 0.0
    assert score_loss(torch.tensor([1.0]), empty, nothing).item() == 1.0
