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

"""A command that is stopped between any two layers, and what is left of it: nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import Cancelled
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.progress import Stage
from flmm_ros.engine.runtime.interruption import Interruption

COMMANDS = ("pick up the red mug", "what can i drink from?")


class Stopper:
    """Counts the questions between layers, by stage, and stops at one of them."""

    def __init__(self, at=None):
        self.at, self.asked, self.stage, self.stages = at, 0, None, []

    def __call__(self, progress):
        self.stage = progress.stage

    def check(self):
        self.asked += 1
        self.stages.append(self.stage)
        if self.asked == self.at:
            raise Cancelled("CANCELED")


@pytest.fixture(scope="module")
def grounder():
    with torch.random.fork_rng():
        grounder = Grounder.from_config(GrounderConfig(model="tabletop", threads=1, scene_cache=0))
    yield grounder
    grounder.close()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).integers(0, 256, (96, 128, 3), np.uint8)


def result(answer):
    return answer.text, [(o.phrase, o.score, int(o.mask.sum())) for o in answer.objects]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_long_stage_is_asked_within_and_a_stop_leaves_the_scene_as_it_was(
    grounder, image, command
):
    watched = Stopper()
    expected = result(grounder.open(image).ask(command, on_stage=watched))
    stages = set(watched.stages)
    assert {Stage.ENCODE, Stage.READ} <= stages or {Stage.ENCODE, Stage.GENERATE} <= stages
    assert watched.asked > 10
    for at in (1, watched.asked // 2, watched.asked):
        scene, stopper = grounder.open(image), Stopper(at)
        with pytest.raises(Cancelled):
            scene.ask(command, on_stage=stopper)
        assert stopper.asked == at
        # The scene remembers what it had finished by then, never half of anything.
        assert result(scene.ask(command)) == expected


def test_mask_stages_are_asked_within(grounder, image):
    watched = Stopper()
    grounder.open(image).ground(["the red mug"], on_stage=watched)
    assert {Stage.ENCODE, Stage.READ, Stage.REFINE} <= set(watched.stages)


def test_a_plain_callback_is_not_asked_between_layers(grounder, image):
    seen = []
    grounder.open(image).ground(["the red mug"], on_stage=seen.append)
    assert [p.stage.value for p in seen] == ["encode", "read", "decode", "see", "refine"]


def test_only_layers_are_asked_and_only_within_the_block():
    model = nn.Sequential(nn.Linear(2, 2), nn.Module())
    model[1].layers = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    interruption, asked = Interruption(), []
    interruption.watch(model, "no module")
    x = torch.zeros(1, 2)
    for layer in (model[0], *model[1].layers):
        layer(x)
    with interruption.during(lambda: asked.append(1)):
        for layer in (model[0], *model[1].layers):
            layer(x)
        with interruption.during(None):
            model[1].layers[0](x)
    model[1].layers[0](x)
    assert len(asked) == 2
