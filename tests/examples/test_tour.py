"""The tour asks what it promises, and its judge tells right from wrong."""

from dataclasses import replace

import pytest

from examples.demo.scenario import SEEDS, Expected, Pointed, Task, judge, tasks_for
from flmm_sim.tabletop.tabletop import Tabletop


def all_tasks(world: Tabletop) -> list[Task]:
    return [task for seed in SEEDS for task in tasks_for(world.render(seed))]


def test_every_kind_of_command_is_there(world: Tabletop) -> None:
    tasks = all_tasks(world)
    titles = {task.title for task in tasks}
    assert len(tasks) >= 10 and len(SEEDS) >= 3
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
    assert any(task.by_topic for task in tasks) and not all(task.by_topic for task in tasks)


def test_scenes_are_seen_by_nobody_else() -> None:
    assert all(2_000_000 <= seed < 5_000_000 for seed in SEEDS)


def test_what_is_expected_is_there(world: Tabletop) -> None:
    for seed in SEEDS:
        scene = world.render(seed)
        for task in tasks_for(scene):
            labels = task.expected.labels
            assert labels is None or labels <= {o.label for o in scene.objects}
            if task.title in ("ask by use", "a need instead of a name"):
                assert labels, "the scene has something to drink from"
            if task.title == "two objects in one command":
                assert labels is not None and len(labels) == 2
            if task.title == "point at what is not there":
                name = task.command.removeprefix("Pick up the ").removesuffix(".")
                assert scene.find(name) is None


def test_another_scene_is_refused(world: Tabletop) -> None:
    with pytest.raises(ValueError, match="expected a scene out of .* got seed 7"):
        tasks_for(world.render(7))


def test_judge(world: Tabletop) -> None:
    scene = world.render(SEEDS[0])
    mug = scene.find("red mug")
    assert mug is not None
    task = Task("", scene.seed, "", Expected(words=("red",), labels=frozenset({mug.label})))
    good = Pointed("the red mug", True, 0.9)

    def verdict(objects: list[Pointed], answer: str = "a red one", code: str = "OK") -> str:
        return judge(task, scene, error_code=code, answer=answer, objects=objects)

    assert verdict([good]) == ""
    assert verdict([good, Pointed("the green mug", False, 0.0)]) == ""
    assert verdict([good], code="TIMEOUT") == "expected OK, got TIMEOUT"
    assert verdict([good], answer="a reddish one") == "expected 'red' in the answer"
    assert verdict([good], answer="red or blue") == "expected 'red' in the answer"
    assert verdict([good], answer="no, the mug is red") == ""
    assert verdict([]) == "expected red mug"
    assert verdict([good, Pointed("the ring", True, 0.9)]) == "expected red mug"
    assert verdict([good, Pointed("the zebra", True, 0.9)]) == "there is no such thing: the zebra"
    assert verdict([replace(good, iou=0.3)]) == "mask not on the red mug"


def test_judge_wants_the_refusal(world: Tabletop) -> None:
    scene = world.render(SEEDS[0])
    task = Task("", scene.seed, "", Expected(refusal="UNKNOWN_WORD"))
    assert judge(task, scene, error_code="UNKNOWN_WORD", answer="", objects=[]) == ""
    assert judge(task, scene, error_code="OK", answer="a zebra", objects=[]) != ""
