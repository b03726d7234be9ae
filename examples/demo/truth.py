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

"""Compares what was said and pointed at with what the simulator knows.

A phrase is matched to objects by the colours and kinds in its words, so that "the red mug" is
judged against the red mug and not against whatever lies under the mask.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from flmm_sim.tabletop.tabletop import ALL_KINDS, COLORS, SceneObject, TabletopScene

_PLURALS = {"bunnies": "bunny", **{f"{kind}s": kind for kind in ALL_KINDS if kind != "bunny"}}


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, plural kinds in the singular."""
    return [_PLURALS.get(word, word) for word in re.findall(r"[a-z]+", text.lower())]


def objects_meant(phrase: str, scene: TabletopScene) -> tuple[SceneObject, ...]:
    """The objects that have every colour and kind the phrase names; none where it names neither.

    "the red mug" means one object at most, "the mug" every mug of the scene.
    """
    words = words_of(phrase)
    colors = {word for word in words if word in COLORS}
    kinds = {word for word in words if word in ALL_KINDS}
    if not colors and not kinds:
        return ()
    return tuple(o for o in scene.objects if colors <= {o.color} and kinds <= {o.kind})


def true_mask(phrase: str, scene: TabletopScene) -> NDArray[np.bool_]:
    """The pixels [H, W] a phrase means, empty where the scene holds no such object."""
    labels = [o.label for o in objects_meant(phrase, scene)]
    return np.isin(scene.labels, labels)
