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

"""The small parts of the embedded model's training: scenes on disk, batches made ahead, draws."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flmm_ros.engine.config import find_model
from flmm_ros.engine.heads.checkpoint import load_heads
from flmm_ros.engine.heads.trained import Heads
from flmm_sim.tabletop.tabletop import ALL_KINDS, Tabletop
from training.embedded.settings import STAGES, EmbeddedSettings
from training.embedded.stages import scenes
from training.embedded.stages.batches import ahead
from training.embedded.stages.heads import PhraseDraws, start_from
from training.embedded.stages.vision_encoder import VisionData, token_labels


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> scenes.SceneSet:
    monkeypatch.setattr(scenes, "CHUNK", 2)
    for start in (0, 2):
        for is_crowded in (False, True):
            scenes._render(scenes._Chunk(tmp_path, start, is_crowded))
    return scenes.load_scenes(tmp_path, 0, 4)


def test_scenes_come_back_from_disk_as_they_were_drawn(few: scenes.SceneSet) -> None:
    assert len(few) == 8
    with Tabletop() as world:
        both = [(world.render(seed), world.render_crowd(seed)) for seed in range(4)]
    for number, drawn in enumerate(scene for pair in both for scene in pair):
        np.testing.assert_array_equal(few.rgb[number], drawn.rgb)
        np.testing.assert_array_equal(few.labels[number], drawn.labels)
        assert few.objects[number] == drawn.objects


def test_what_is_there_is_not_drawn_again(
    few: scenes.SceneSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "_render", None)  # would be called for what is missing
    assert scenes.load_scenes(tmp_path, 0, 4).objects == few.objects
    with pytest.raises(ValueError, match="multiples of 2"):
        scenes.load_scenes(tmp_path, 0, 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_from_any_number_of_workers(workers: int) -> None:
    made = list(ahead(lambda step: torch.tensor([step * step]), range(3, 11), workers))
    assert [step for step, _ in made] == list(range(3, 11))
    assert [int(x) for _, x in made] == [s * s for s in range(3, 11)]


def test_a_mirrored_batch_has_mirrored_labels(few: scenes.SceneSet) -> None:
    data = VisionData(few, lambda rgb: torch.from_numpy(rgb.copy()).permute(0, 3, 1, 2), 256, 16)
    plain, mirrored = data.drawn(0, 4, 3), data.drawn(0, 5, 3)
    index = np.random.default_rng([0, 5]).integers(0, len(few), 3)
    for row, i in enumerate(index):
        kind, color = token_labels(few.labels[i], few.objects[i], 256, 16)
        assert (mirrored.kind[row].view(16, 16).flip(1).flatten().numpy() == kind).all()
        assert (mirrored.color[row].view(16, 16).flip(1).flatten().numpy() == color).all()
    assert plain.kind.max() <= len(ALL_KINDS)


def test_phrases_of_two_lengths_a_step_as_often_as_they_occur() -> None:
    lengths = torch.tensor([2] * 60 + [3] * 30 + [9] * 10)
    draws = PhraseDraws(lengths)
    seen: list[int] = []
    for step in range(400):
        index = draws.some(np.random.default_rng(step), 8)
        assert len(index) == 8 and len(set(lengths[index].tolist())) <= 2
        seen += lengths[index].tolist()
    shares = [seen.count(n) / len(seen) for n in (2, 3, 9)]
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=0.05)


def test_heads_start_from_others_but_for_eyes_and_selector() -> None:
    trained = load_heads(find_model("tabletop").heads)
    torch.manual_seed(1)
    heads = Heads.create(trained.lmm, trained.config)
    before = {name: value.clone() for name, value in heads.state_dict().items()}
    start_from(heads, trained)
    for name, value in heads.state_dict().items():
        is_kept = name.startswith(("mask_refiner.image_encoder.", "phrase_selector."))
        assert torch.equal(value, (before if is_kept else trained.state_dict())[name]), name


def test_every_stage_draws_for_itself() -> None:
    run = EmbeddedSettings(Path("x"))
    stages = [stage for stage in STAGES if hasattr(run, f"{stage}_steps")]
    assert stages == ["tower", "lmm", "sight", "heads"]
    paces = [run.plan(stage) for stage in stages]
    assert len({plan.seed for plan in paces}) == 4
    assert (paces[1].steps, paces[1].images, paces[1].peak_rate) == (7_000, 64, 1.5e-3)
