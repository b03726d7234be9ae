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

"""Words that pick one thing of several by its place or size: "the biggest ball", "the mug on the
left", "the nearest cube".

Left, right, near and far are those of the picture; size is the area that is seen of a thing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flmm_sim.tabletop.tabletop import SceneObject
from training.embedded.language.samples import MARGIN_PX, Objects, pick

CLEARLY_BIGGER = 1.3  # times the area of the next one: a person sees it at once
_Rank = Callable[[SceneObject], float]

# words -> (what it is measured by, sign): the thing meant has the most of it
SUPERLATIVES: dict[str, tuple[str, int]] = {
    "the biggest {0}": ("size", 1),
    "the largest {0}": ("size", 1),
    "the smallest {0}": ("size", -1),
    "the leftmost {0}": ("x", -1),
    "the rightmost {0}": ("x", 1),
    "the nearest {0}": ("y", 1),
    "the closest {0}": ("y", 1),
    "the farthest {0}": ("y", -1),
    "the {0} on the left": ("x", -1),
    "the {0} on the right": ("x", 1),
    "the {0} in front": ("y", 1),
    "the {0} at the back": ("y", -1),
}
_RANKS: dict[str, _Rank] = {
    "size": lambda o: float(np.log(o.visible_px)),
    "x": lambda o: o.center_px[0],
    "y": lambda o: o.center_px[1],
}


def superlative(objects: Objects, rng: np.random.Generator) -> tuple[str, tuple[int, ...]] | None:
    """Such a phrase and the label it means; None where it would not be clear which one is meant."""
    form = pick(rng, tuple(SUPERLATIVES))
    kinds = [o.kind for o in objects]
    crowded = sorted({k for k in kinds if kinds.count(k) > 1})
    if crowded and rng.random() < 0.6:
        word = pick(rng, crowded)
        crowd = [o for o in objects if o.kind == word]
    else:
        word, crowd = pick(rng, ("object", "thing")), list(objects)
    by, sign = SUPERLATIVES[form]
    ranked = sorted(crowd, key=lambda o: -sign * _RANKS[by](o))
    margin = float(np.log(CLEARLY_BIGGER)) if by == "size" else MARGIN_PX
    if len(ranked) > 1 and abs(_RANKS[by](ranked[0]) - _RANKS[by](ranked[1])) < margin:
        return None
    return form.format(word), (ranked[0].label,)
