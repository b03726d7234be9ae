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

"""What is taken out of a mask, by values; and that reading a command never breaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flmm_ros.cli import ground
from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.language.meaning import understand
from flmm_ros.engine.language.normalisation import normalised
from flmm_ros.engine.language.words import word_set
from flmm_ros.engine.masks.exclusion import without
from flmm_ros.engine.masks.mask import tight_box

WORDS = sorted(
    word_set(
        "the a all every red blue mug ball duck one not no don't take touch stays put except for "
        "but bar save minus without and or , . : when while is are must that which anything "
        "nothing it leave alone keep where with being other than hands off ignore forget sign ?"
    )
)


def _found(*boxes: tuple[int, int, int, int]) -> Grounding:
    mask = np.zeros((40, 60), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    soft: NDArray[np.float32] = np.where(mask, 0.9, 0.1).astype(np.float32)
    return Grounding("it", mask, soft, soft, 0.8, tight_box(mask), is_present=bool(mask.any()))


def test_a_part_on_the_excluded_thing_goes_and_the_other_stays() -> None:
    left, right = (2, 2, 22, 22), (30, 2, 50, 22)
    kept = without(_found(left, right), [_found(right)])
    assert np.array_equal(kept.mask, _found(left).mask)
    assert kept.box_xyxy_px == tight_box(kept.mask) and kept.score == 0.8
    assert kept.soft_mask[10, 40] == 0


def test_what_is_wholly_excluded_is_absent() -> None:
    box = (2, 2, 22, 22)
    gone = without(_found(box), [_found(box)])
    assert not gone.mask.any() and not gone.is_present and gone.score == 0


def test_a_smaller_overlap_takes_only_its_pixels() -> None:
    kept = without(_found((0, 0, 20, 20)), [_found((15, 0, 30, 20))])
    assert np.array_equal(kept.mask, _found((0, 0, 15, 20)).mask)


def test_nothing_changes_where_nothing_is_excluded() -> None:
    found = _found((0, 0, 20, 20))
    assert without(found, []) is found
    assert without(found, [_found()]) is found
    assert without(found, [_found((30, 0, 50, 20))]) is found


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        meaning = understand(text)
    except PromptError:
        return
    excluded = {p.text for p in meaning.excluded}
    assert meaning.unclear or not {p.text for p in meaning.targets} & excluded


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(max_size=60))
def test_normal_text_is_normal_and_its_places_lie_in_the_typed_text(text: str) -> None:
    normal = normalised(text)
    assert normalised(normal.text).text == normal.text
    places = [normal.typed_span((i, i + 1)) for i in range(len(normal.text))]
    assert all(0 <= start < end <= len(text) for start, end in places)
    starts = [start for start, _ in places]
    assert starts == sorted(starts)


def test_a_prohibition_is_not_offered_as_an_intent(capsys: pytest.CaptureFixture[str]) -> None:
    assert ground.main(["a.png", "the mug", "--intent", "prohibition"]) == 2
    error = capsys.readouterr().err
    assert "answer_and_ground" in error and "'prohibition' is not one of" in error
