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

"""Which objects a phrase means, and how well a mask covers them."""

import numpy as np
import pytest

from examples.demo.truth import objects_meant, true_mask, words_of
from flmm_ros.engine.masks.mask import iou
from flmm_sim.tabletop.tabletop import Tabletop

SEED = 2_000_028  # blue ball, yellow bunny, blue cube, orange ring, blue duck, red mug


@pytest.mark.parametrize(
    ("phrase", "names"),
    [
        ("the red mug", {"red mug"}),
        ("A RED Mug.", {"red mug"}),
        ("the mug", {"red mug"}),
        ("the blue object", {"blue ball", "blue cube", "blue duck"}),
        ("bunnies", {"yellow bunny"}),
        ("the green mug", set()),
        ("something", set()),
        ("", set()),
    ],
)
def test_objects_meant(world: Tabletop, phrase: str, names: set[str]) -> None:
    scene = world.render(SEED)
    assert {o.name for o in objects_meant(phrase, scene)} == names
    wanted = np.zeros(scene.labels.shape, bool)
    for name in names:
        obj = scene.find(name)
        assert obj is not None
        wanted |= scene.mask(obj)
    np.testing.assert_array_equal(true_mask(phrase, scene), wanted)


def test_words() -> None:
    assert words_of("Two mugs, 3 BUNNIES!") == ["two", "mug", "bunny"]


def test_iou() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert iou(a, b) == 0.0
    a[:2], b[1:3] = True, True
    assert iou(a, b) == pytest.approx(4 / 12)
    assert iou(a, a) == 1.0
    with pytest.raises(ValueError, match=r"expected a mask of \(4, 4\), got \(4, 5\)"):
        iou(np.zeros((4, 5), bool), a)
