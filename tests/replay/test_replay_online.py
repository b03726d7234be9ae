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

"""A recording is played into the real node: what it answers, how fast, and what it drops."""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.replay.judging.judged_answer import JudgedAnswer, read_rows
from flmm_ros.replay.online.evaluate_online import evaluate_online
from flmm_ros.replay.online.node_link import NodeLink, OnlineError
from flmm_ros.replay.online.playback import Playback
from flmm_ros.replay.runs.evaluate import ReplaySettings, evaluate
from flmm_ros.replay.runs.process_usage import find_process
from flmm_ros.replay.scenario import Scenario, load_scenario
from flmm_sim.processes import ChildProcess
from flmm_sim.recording.recording import RecordingPlan, record

SEED = 2_000_201
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of one scene in 0.8 s."""
    return record(
        tmp_path_factory.mktemp("online") / "bag", RecordingPlan(range(SEED, SEED + 1), frames=8)
    )


def started(log: Path, name: str, *, use_sim_time: bool) -> ChildProcess:
    parameters = {"model": "tabletop", "threads": 1, "autostart": "true"}
    parameters["use_sim_time"] = str(use_sim_time).lower()
    values = [part for key, value in parameters.items() for part in ("-p", f"{key}:={value}")]
    arguments = ["--ros-args", "-r", f"__node:={name}", *values]
    return ChildProcess(name, "flmm_ros.ros.node.grounding_node", arguments, log / f"{name}.log")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildProcess]:
    with started(tmp_path_factory.mktemp("node"), "played_node", use_sim_time=True) as child:
        yield child


@pytest.fixture(scope="module")
def scenario(bag: Path, world) -> Scenario:
    thing = max(world.render(SEED).objects, key=lambda o: o.visible_px).name
    content = yaml.safe_load((bag / "scenario.yaml").read_text())
    content["commands"] = [
        {"say": f"the {thing}", "every_s": 0, "expect": {"objects": [thing]}},
        {"say": "pick up the кружка", "at_s": 0.2, "expect": {"error": "UNKNOWN_WORD"}},
        {
            "say": "Please give me a description of the image.",
            "at_s": 0.3,
            "cancel_after_s": 0,
        },
    ]
    content["thresholds"] = {"refusals.wrong": "== 0", "times_ms.cancel.n": ">= 1"}
    path = bag / "online.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_scenario(path)


@pytest.fixture(scope="module")
def played(
    bag: Path, node: ChildProcess, scenario: Scenario, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict, list[JudgedAnswer]]:
    out = tmp_path_factory.mktemp("out")
    summary = evaluate_online(
        bag, scenario, out, Playback(rate=0.4), lambda *_: None, node="played_node"
    )
    return summary, list(read_rows(out / "result.jsonl"))


def test_answers_are_those_of_lockstep_on_the_same_images(bag, scenario, played, tmp_path):
    _, rows = played
    answered = [row for row in rows if row.error == "OK" and row.command == 0]
    assert answered and all(row.worst_iou > 0.6 for row in answered)
    grounder = Grounder.from_config(GrounderConfig(model="tabletop", threads=1))
    evaluate(bag, scenario, ReplaySettings(), grounder, tmp_path)
    grounder.close()
    lockstep = {(r.stamp_ns, r.command): r for r in read_rows(tmp_path / "result.jsonl")}
    for row in answered:
        same = lockstep[row.stamp_ns, 0]
        assert row.frame == same.frame and row.pairs == same.pairs
        assert row.objects[0].rle == same.objects[0].rle


def test_the_first_image_is_there_before_the_first_command(played):
    """Also on a busy machine, where a command is faster than an image; and with its depth."""
    _, rows = played
    first = next(row for row in rows if row.command == 0)
    assert first.error == "OK" and first.frame == 0
    assert first.pairs[0].target_error_m == pytest.approx(0.0, abs=0.01)


def test_a_repeated_command_waits_for_a_new_image(bag, node, scenario, played, tmp_path):
    """A tenth of the speed: the node has ten times the time it needs, and nothing new to see. The
    second replay into the same node, whose clock goes back for it."""
    only = dataclasses.replace(scenario, commands=scenario.commands[:1], thresholds=())
    evaluate_online(bag, only, tmp_path, Playback(rate=0.1), lambda *_: None, node="played_node")
    asked = [row.frame for row in read_rows(tmp_path / "result.jsonl")]
    assert len(asked) <= 8 and asked == sorted(asked)
    assert all(row.error == "OK" for row in read_rows(tmp_path / "result.jsonl"))


def test_a_node_that_listens_to_another_type_is_told_at_once(node):
    with NodeLink((), "played_node") as link:
        link.wait_until_ready(10**18, 60.0)
        kind = "sensor_msgs/msg/CompressedImage"
        assert link.advertise("image", kind)
        with pytest.raises(
            OnlineError, match=r"listens to sensor_msgs/msg/Image; set its image_tr"
        ):
            link.wait_for_listener("image", kind, 10**18, 60.0, reliably=True)


def test_a_topic_nobody_listens_to_is_an_error(node):
    with NodeLink((), "played_node") as link:
        link.wait_until_ready(10**18, 60.0)
        kind = "sensor_msgs/msg/Image"
        assert link.advertise("elsewhere", kind)
        with pytest.raises(OnlineError, match=r"expected the node to listen to /elsewhere"):
            link.wait_for_listener("elsewhere", kind, 10**18, 0.5, reliably=True)


def test_refusals_and_cancels_are_measured(played):
    summary, rows = played
    codes = {row.command: row.error for row in rows}
    assert codes[1] == "UNKNOWN_WORD" and codes[2] == "CANCELED"
    cancelled = next(row for row in rows if row.command == 2)
    assert 0 < cancelled.times_ms["cancel"] <= cancelled.times_ms["answer"]
    assert cancelled.is_right(0.5) is True
    assert summary["status"] == "passed", summary["thresholds"]


def test_times_include_what_the_robot_waits_for(played):
    _, rows = played
    for row in rows:
        if row.error == "OK":
            assert row.times_ms["answer"] >= row.times_ms["total"] + row.times_ms["wait"] - 1
            assert row.times_ms["image_age"] >= 0
    first = [row for row in rows if "first_mask" in row.times_ms]
    assert [row.command for row in first] == [0]
    assert first[0].times_ms["first_mask"] >= first[0].times_ms["answer"]


def test_frames_and_resources_are_accounted_for(played):
    summary, rows = played
    frames = summary["metrics"]["frames"]
    dropped = sum(count for name, count in frames.items() if name.startswith("dropped_"))
    assert frames["in_bag"] == 8 and frames["used"] + dropped == 8
    assert frames["used"] == len({row.stamp_ns for row in rows if row.error == "OK"})
    assert summary["parameters"]["model"] == "tabletop" and summary["rate"] == 0.4
    assert summary["metrics"]["resources"]["rss_peak_mb"] > 100
    assert summary["metrics"]["resources"]["cpu_percent"] > 0
    assert summary["images_late_ms"]["n"] == 8


def test_a_node_without_the_played_clock_is_refused(tmp_path):
    with (
        started(tmp_path, "wall_node", use_sim_time=False) as child,
        NodeLink((), "wall_node") as link,
        pytest.raises(OnlineError, match="expected use_sim_time true"),
    ):
        link.wait_until_ready(10**18, 60.0)
    assert child.log.exists()


def test_no_node_is_an_error_with_its_name():
    with NodeLink((), "nobody") as link, pytest.raises(OnlineError, match="grounding node /nobody"):
        link.wait_until_ready(10**18, 0.3)
    assert find_process("no_such_program") is None


def test_the_launch_file_describes_and_uses_its_arguments():
    tree = ast.parse((ROOT / "launch" / "replay.launch.py").read_text())
    text = ast.unparse(tree)
    declared = {}
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "DeclareLaunchArgument":
            words = {k.arg: k.value for k in call.keywords}
            declared[ast.literal_eval(call.args[0])] = ast.literal_eval(words["description"])
    assert set(declared) == {"bag", "scenario", "out", "rate"}
    assert all(len(words.split()) > 4 for words in declared.values())
    assert all(f"'{name}'" in text.split("def _start_replay")[1] for name in declared)


def test_the_launch_description_can_be_made():
    pytest.importorskip("launch_ros", reason="the launch system comes with a ROS distribution only")
    names: dict[str, object] = {}
    file = ROOT / "launch" / "replay.launch.py"
    exec(compile(file.read_text(), file, "exec"), names)
    assert len(names["generate_launch_description"]().entities) == 6  # type: ignore[operator]
