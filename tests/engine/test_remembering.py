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

"""What is computed once: encoders run once an image, and not at all where nobody needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.config import with_overrides
from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.lmm.base import Generated
from flmm_ros.engine.runtime.scene_cache import SceneMemory


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


def images(image: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    return [image + np.uint8(i) for i in range(count)]


def test_all_scenes_share_one_bound_and_answer_the_same_after_their_turn(
    grounder: Grounder, image: NDArray[np.uint8], calls: Counter[str]
) -> None:
    """Conversations hold their scenes; their tensors count like those of the newest images."""
    chats = [grounder.open(each).chat() for each in images(image, 5)]
    first = [chat.say("the red mug").objects[0] for chat in chats]
    memory = grounder.scene_memory
    assert (memory.open_images, memory.encoded_images, memory.encoded_limit) == (5, 2, 2)
    assert memory.pixel_bytes == 5 * image.nbytes
    assert calls == {"language model": 5, "SAM": 5}
    again = [chat.say("the red mug").objects[0] for chat in chats]
    assert calls == {"language model": 10, "SAM": 10}
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.soft_mask, other.soft_mask)
        np.testing.assert_array_equal(one.heat, other.heat)
        assert (one.score, one.box_xyxy_px) == (other.score, other.box_xyxy_px)
    chats[4].say("the red mug")  # still encoded: it was the last
    assert calls == {"language model": 10, "SAM": 10}
    assert grounder.scene_memory.encoded_images == 2


def test_an_image_that_only_a_conversation_holds_is_shared_when_it_is_opened_again(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    chat = grounder.open(image).chat()
    others = [grounder.open(each) for each in images(image, 4)[1:]]
    again = grounder.open(image.copy())
    assert grounder.scene_memory.open_images == 4
    again.ground(["the red mug"])
    assert "encode" not in chat.say("the red mug").timings_ms
    del chat, again, others
    assert grounder.scene_memory.open_images == 2  # what the cache itself remembers


def test_without_a_cache_only_the_image_in_use_is_encoded(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    config = with_overrides(grounder.config, {"scene_cache": 0})
    forgetful = Grounder(config, grounder.model, grounder.lmm, grounder.heads)
    first, second = (forgetful.open(image) for _ in range(2))
    assert first is not second
    one = first.ground(["the red mug"])[0]
    assert "encode" not in first.ask("the red mug").timings_ms
    second.ground(["the red mug"])
    assert forgetful.scene_memory.encoded_images == 1
    np.testing.assert_array_equal(first.ground(["the red mug"])[0].soft_mask, one.soft_mask)
    del first, second
    assert forgetful.scene_memory == SceneMemory(0, 0, 1, 0, 0)


def test_tensors_are_counted_in_bytes(grounder: Grounder, image: NDArray[np.uint8]) -> None:
    scene = grounder.open(image)
    assert grounder.scene_memory.tensor_bytes == 0
    scene.ask("how many", intent=Intent.ANSWER)
    text = grounder.lmm.model.config.get_text_config()
    tokens = len(grounder.lmm._expand(grounder.lmm.text().prefix(), image.shape[:2]))
    width = text.num_key_value_heads * text.hidden_size // text.num_attention_heads
    least = 2 * text.num_hidden_layers * tokens * width * 4
    encoded = grounder.scene_memory.tensor_bytes
    assert least <= encoded < 6 * least  # the room for text behind a short prefix
    scene.ground(["the red mug"])
    features = grounder.heads.see(image)
    assert grounder.scene_memory.tensor_bytes >= encoded + features.nbytes


def test_a_prefix_of_the_callers_own_is_encoded_the_same_way_again(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    ids = [*grounder.lmm.text().prefix()[:-1], *grounder.lmm.text().prefix()]
    scene = grounder.open(image)
    length = scene.encode(ids[-3:], keep_states=True).length
    expected = scene.ground(["the red mug"])[0].soft_mask
    for other in images(image, 4)[1:]:
        grounder.open(other).ground(["the red mug"])
    np.testing.assert_array_equal(scene.ground(["the red mug"])[0].soft_mask, expected)
    assert scene.encode(ids[-3:]).length == length != scene.encode(ids[-4:]).length


def test_settings_that_change_reach_scenes_that_are_open(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    scene = grounder.open(image)
    chat = scene.chat()
    (before,) = scene.ground(["the red mug"])
    assert before.is_present and before.mask.any()
    changes = {"score_threshold": 1.0, "mask_threshold": 1.0, "max_command_chars": 12}
    grounder.update(with_overrides(grounder.config, changes))
    (after,) = scene.ground(["the red mug"])
    assert not after.is_present and not after.mask.any()
    np.testing.assert_array_equal(after.soft_mask, before.soft_mask)
    with pytest.raises(PromptError, match="at most 12"):
        chat.say("point at the red mug")


def test_a_closed_model_is_freed_though_scenes_are_held(
    grounder: Grounder, image: NDArray[np.uint8]
) -> None:
    own = Grounder(grounder.config, grounder.model, grounder.lmm, grounder.heads)
    scene = own.open(image)
    scene.ground(["the red mug"])
    assert own.scene_memory.tensor_bytes > 0
    own.close()
    assert own.scene_memory.tensor_bytes == 0
    with pytest.raises(RuntimeError, match="got one that was closed"):
        scene.ground(["the red mug"])
