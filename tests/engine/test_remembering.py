"""What is computed once: encoders run once an image, and not at all where nobody needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.lmm.base import Generated


@pytest.fixture
def calls(grounder: Grounder) -> Iterator[Counter[str]]:
    """How often each image encoder ran."""
    heads = grounder.heads
    assert isinstance(heads, Heads)
    found: Counter[str] = Counter()
    towers = {
        "language model": grounder.lmm.model.model.vision_tower,
        "SAM": heads.mask_refiner.image_encoder,
    }
    hooks = [
        tower.register_forward_hook(lambda *_, name=name: found.update([name]))
        for name, tower in towers.items()
    ]
    yield found
    for hook in hooks:
        hook.remove()


def test_an_image_is_seen_once(
    grounder: Grounder, image: NDArray[np.uint8], calls: Counter[str]
) -> None:
    scene = grounder.open(image)
    scene.ask("the red mug")
    scene.ground(["the blue cube", "the red mug"])
    scene.ask("what is there?", intent=Intent.ANSWER)
    grounder.open(image.copy()).ground(["the red mug"])
    assert calls == {"language model": 1, "SAM": 1}


def test_two_cameras_that_take_turns_share_the_model(
    grounder: Grounder, image: NDArray[np.uint8], calls: Counter[str]
) -> None:
    cameras = (image, np.flipud(image))
    alone = [
        Grounder(grounder.config, grounder.model, grounder.lmm, grounder.heads)
        .open(camera)
        .ground(["the red mug"])[0]
        .soft_mask
        for camera in cameras
    ]
    calls.clear()
    for _ in range(3):
        for camera, expected in zip(cameras, alone, strict=True):
            (found,) = grounder.open(camera).ground(["the red mug"])
            np.testing.assert_allclose(found.soft_mask, expected, atol=1e-6)
    assert calls == {"language model": 2, "SAM": 2}


def test_sam_does_not_look_where_nothing_is_pointed_at(
    grounder: Grounder,
    image: NDArray[np.uint8],
    calls: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = grounder.open(image)
    scene.ask("how many", intent=Intent.ANSWER)
    yes = grounder.lmm.text().tokenizer("yes.", add_special_tokens=False).input_ids
    monkeypatch.setattr(grounder.lmm, "generate", lambda *_, **__: Generated(tuple(yes)))
    assert scene.ask("what is there?", intent=Intent.ANSWER_AND_GROUND).objects == ()
    assert scene.ground([]) == []
    assert calls == {"language model": 1}
