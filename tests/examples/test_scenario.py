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

"""The demo scenario asks what it promises, and answers are judged right."""

from dataclasses import replace

import pytest

from examples.demo.scenario import (
    SEEDS,
    DemoCommand,
    ExpectedAnswer,
    JudgedObject,
    commands_for,
    judge_answer,
)
from flmm_sim.tabletop.tabletop import Tabletop


def all_commands(world: Tabletop) -> list[DemoCommand]:
    return [asked for seed in SEEDS for asked in commands_for(world.render(seed))]


def test_every_kind_of_command_is_there(world: Tabletop) -> None:
    commands = all_commands(world)
    titles = {asked.title for asked in commands}
    assert len(commands) >= 10 and len(SEEDS) >= 3
    assert {
        "describe the scene",
        "point at an object",
        "point at what is not there",
        "ask for a colour",
        "ask by use",
        "a need instead of a name",
        "two objects in one command",
        "count",
        "ask for a place",
        "a name nobody taught it",
        "a word in a script it does not read",
    } <= titles
    assert any(asked.by_topic for asked in commands) and not all(
        asked.by_topic for asked in commands
    )


def test_scenes_are_seen_by_nobody_else() -> None:
    assert all(2_000_000 <= seed < 5_000_000 for seed in SEEDS)


def test_what_is_expected_is_there(world: Tabletop) -> None:
    for seed in SEEDS:
        scene = world.render(seed)
        for asked in commands_for(scene):
            labels = asked.expected.labels
            assert labels is None or labels <= {o.label for o in scene.objects}
            if asked.title in ("ask by use", "a need instead of a name"):
                assert labels, "the scene has something to drink from"
            if asked.title == "two objects in one command":
                assert labels is not None and len(labels) == 2
            if asked.title == "point at what is not there":
                name = asked.command.removeprefix("Pick up the ").removesuffix(".")
                assert scene.find(name) is None


def test_another_scene_is_refused(world: Tabletop) -> None:
    with pytest.raises(ValueError, match="expected a scene out of .* got seed 7"):
        commands_for(world.render(7))


def test_judge(world: Tabletop) -> None:
    scene = world.render(SEEDS[0])
    mug = scene.find("red mug")
    assert mug is not None
    asked = DemoCommand(
        "", scene.seed, "", ExpectedAnswer(words=("red",), labels=frozenset({mug.label}))
    )
    good = JudgedObject("the red mug", True, 0.9)

    def verdict(objects: list[JudgedObject], answer: str = "a red one", code: str = "OK") -> str:
        return judge_answer(asked, scene, error_code=code, answer=answer, objects=objects)

    assert verdict([good]) == ""
    assert verdict([good, JudgedObject("the green mug", False, 0.0)]) == ""
    assert verdict([good], code="TIMEOUT") == "expected OK, got TIMEOUT"
    assert verdict([good], answer="a reddish one") == "expected 'red' in the answer"
    assert verdict([good], answer="red or blue") == "expected 'red' in the answer"
    assert verdict([good], answer="no, the mug is red") == ""
    assert verdict([]) == "expected red mug"
    assert verdict([good, JudgedObject("the ring", True, 0.9)]) == "expected red mug"
    assert (
        verdict([good, JudgedObject("the zebra", True, 0.9)]) == "there is no such thing: the zebra"
    )
    assert verdict([replace(good, iou=0.3)]) == "mask not on the red mug"


def test_judge_wants_the_refusal(world: Tabletop) -> None:
    scene = world.render(SEEDS[0])
    asked = DemoCommand("", scene.seed, "", ExpectedAnswer(refusal="UNKNOWN_WORD"))
    assert judge_answer(asked, scene, error_code="UNKNOWN_WORD", answer="", objects=[]) == ""
    assert judge_answer(asked, scene, error_code="OK", answer="a zebra", objects=[]) != ""
