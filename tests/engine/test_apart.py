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

"""Phrases that are read together know nothing of each other, all the way to the masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_families
import torch
from numpy.typing import NDArray

from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.lmm import FAMILIES, LoadOptions, load_lmm
from flmm_ros.engine.lmm.attention import MissingMaskError, RowRecorder
from flmm_ros.engine.lmm.tokens import Suffix, branched

PHRASES = ("the red mug", "the red cube", "a mug", "the blue cube")


def test_what_is_common_stands_there_once() -> None:
    one, two = Suffix((7, 8, 1, 2), ((2, 4),)), Suffix((7, 8, 1, 3, 9), ((2, 4),))
    joint = branched([one, two])
    assert joint == Suffix((7, 8, 1, 2, 1, 3, 9), ((2, 4), (4, 6)), ((2, 4), (4, 7)))
    assert branched([one]) is one
    # A tokeniser that treats the border before the phrase differently takes the border along.
    other = Suffix((7, 5, 1, 3), ((2, 4),))
    assert branched([one, other]) == Suffix(
        (7, 8, 1, 2, 5, 1, 3), ((2, 4), (5, 7)), ((1, 4), (4, 7))
    )


def test_branches_need_a_mask_to_be_closed_in() -> None:
    recorder = RowRecorder(torch.tensor([[1]]), torch.tensor([0]), [(0, 1), (1, 2)])
    with pytest.raises(MissingMaskError, match="2 tokens in 2 branches"):
        recorder.keep_apart(None, 2)
    boolean = recorder.keep_apart(torch.ones(1, 1, 2, 3, dtype=torch.bool).tril(1), 2)
    assert boolean is not None
    assert boolean[0, 0].tolist() == [[True, True, False], [True, False, True]]
    additive = recorder.keep_apart(torch.zeros(1, 1, 2, 3), 2)
    assert additive is not None
    assert (additive[0, 0] == 0).tolist() == [[True, True, False], [True, False, True]]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_reads_branches_as_if_alone(family: str, tmp_path: Path) -> None:
    lmm = load_lmm(tiny_families.build(family, tmp_path), LoadOptions())
    image = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    suffixes = [lmm.text().reading("what is there", p, [(0, len(p))]) for p in PHRASES]
    joint = branched(suffixes)
    assert len(joint.ids) < sum(len(s.ids) for s in suffixes)
    with torch.inference_mode():
        prefix = lmm.encode(image)
        got = lmm.read(prefix, joint.ids, joint.spans, joint.branches)
        for n, suffix in enumerate(suffixes):
            alone = lmm.read(prefix, suffix.ids, suffix.spans)
            torch.testing.assert_close(got.maps[n : n + 1], alone.maps, atol=1e-6, rtol=1e-4)
            torch.testing.assert_close(got.states[n], alone.states[0], atol=1e-4, rtol=1e-4)
            start, stop = joint.branches[n]
            torch.testing.assert_close(
                got.all_states[:, start:stop],
                alone.all_states[:, start - stop :],
                atol=1e-4,
                rtol=1e-4,
            )


def _soft_masks(
    grounder: Grounder, image: NDArray[np.uint8], phrases: Sequence[str]
) -> list[NDArray[np.float32]]:
    return [g.soft_mask for g in grounder.open(image).ground(phrases)]


def test_masks_do_not_depend_on_the_other_phrases(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    together = grounder.open(image).ground(PHRASES)
    for n, phrase in enumerate(PHRASES):
        (alone,) = grounder.open(image).ground([phrase])
        assert together[n].phrase == alone.phrase
        assert together[n].score == pytest.approx(alone.score, abs=1e-4)
        np.testing.assert_allclose(together[n].soft_mask, alone.soft_mask, atol=1e-4)
        np.testing.assert_allclose(together[n].heat, alone.heat, atol=1e-4)


def test_joined_phrases_do_as_in_the_original(grounder: Grounder, image: NDArray[np.uint8]) -> None:
    model = dataclasses.replace(grounder.model, reading="joined")
    joined = Grounder(grounder.config, model, grounder.lmm, grounder.heads)
    text = grounder.lmm.text()
    suffix = text.reading(model.prompt, "the red mug. the red cube", [(0, 11), (13, 25)])
    expected = joined.open(image).trace(suffix).refined_logits.sigmoid().numpy()
    first, second = _soft_masks(joined, image, PHRASES[:2])
    np.testing.assert_allclose(first, expected[0], atol=1e-5)
    np.testing.assert_allclose(second, expected[1], atol=1e-5)
    apart = _soft_masks(grounder, image, PHRASES[:2])
    np.testing.assert_allclose(first, apart[0], atol=1e-4)  # nothing stands before the first
    assert np.abs(second - apart[1]).max() > 1e-3
