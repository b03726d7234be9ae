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

"""Makes ReasonSeg from tabletop scenes: what a thing is for, and its outline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flmm_sim.tabletop.tabletop import SceneObject
from training.data.make.shots import PLURALS, Shot, divide, write_json
from training.data.rle import DataError
from training.data.sets.reasonseg import FOLDER

USES = {  # kind -> a question about its use, another wording, and the same as a phrase
    "mug": ("what can i drink from?", "which object can i fill with water?", "something to fill"),
    "ball": ("what can i throw?", "what can i play soccer with?", "something to throw"),
    "cube": ("what can i stack?", "what can i build a tower with?", "something to stack"),
    "duck": ("what can i put in the bath?", "what can swim?", "something to put in the bath"),
    "bunny": ("what can i feed a carrot?", "what can hop?", "something to feed a carrot"),
    "ring": ("what can i put on a finger?", "what can i hang on a peg?", "something to hang"),
    "cylinder": ("what can i use as a pillar?", "what can i roll?", "something to roll"),
}


def make_reasonseg(root: Path, shots: Sequence[Shot]) -> None:
    """All splits: one query a photo; every third one is a phrase instead of a sentence."""
    for split, part in divide(shots, ("train", "val", "test")).items():
        folder = root / FOLDER / split
        folder.mkdir(parents=True, exist_ok=True)
        for number, shot in enumerate(part):
            name = f"{shot.image_id}_tabletop"
            Image.fromarray(shot.rgb).save(folder / f"{name}.jpg", quality=95)
            write_json(folder / f"{name}.json", query(shot, is_sentence=number % 3 != 2))


def query(shot: Shot, *, is_sentence: bool) -> dict[str, Any]:
    """One annotation: all things of a kind are the target, another thing is not judged."""
    target = next((o for o in shot.objects if o.kind in USES), shot.objects[0])
    targets = [o for o in shot.objects if o.kind == target.kind]
    others = [o for o in shot.objects if o.kind != target.kind]
    plural = PLURALS.get(target.kind, f"{target.kind}s")
    question, other_wording, phrase = USES.get(
        target.kind,
        (f"where are the {plural}?", f"which are the {plural}?", f"the {plural}"),
    )
    shapes = [s for o in targets for s in _outlines(shot, o, "target")]
    shapes += [s for o in others[:1] for s in _outlines(shot, o, "ignore")]
    shapes.append({"label": "flag", "points": [[0.0, 0.0], [9.0, 0.0], [9.0, 9.0]]})
    return {
        "text": [question, other_wording] if is_sentence else [phrase],
        "is_sentence": is_sentence,
        "shapes": shapes,
    }


def _outlines(shot: Shot, o: SceneObject, label: str) -> list[dict[str, Any]]:
    """The outer border of each part of an object, through the middles of its pixels."""
    try:
        import cv2
    except ImportError as error:
        raise DataError(
            "making ReasonSeg needs OpenCV; run: pip install 'flmm_ros[train]'"
        ) from error
    mask = np.ascontiguousarray(shot.mask(o), dtype=np.uint8)
    borders, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [
        {"label": label, "points": border[:, 0].astype(float).tolist(), "shape_type": "polygon"}
        for border in borders
    ]
