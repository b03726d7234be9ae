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

"""Whole runs in lockstep with the embedded model: results, exit codes, pages, many recordings."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from flmm_ros.engine.answer import PROHIBITION_TEXT, Answer, Intent
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.replay import command as command_line
from flmm_ros.replay.judging.judged_answer import JudgedAnswer, read_rows, to_json
from flmm_ros.replay.judging.summary import read_summary
from flmm_ros.replay.pages.comparison import compare, render_comparison, worse
from flmm_ros.replay.runs.evaluate import ReplaySettings, evaluate, rows_in
from flmm_ros.replay.runs.lockstep import given_answer_from
from flmm_ros.replay.runs.many_recordings import (
    BagWorker,
    evaluate_many,
    is_done,
    is_folder_of_bags,
    make_tasks,
)
from flmm_ros.replay.runs.run_fingerprint import model_version
from flmm_ros.replay.runs.worker_pool import FinishedTask, RecordingTask
from flmm_ros.replay.scenario import ScenarioCommand, load_scenario
from flmm_sim.recording.recording import RecordingPlan, record

SEED = 2_000_201
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ReplaySettings("tabletop", ("threads=1",))
pytestmark = pytest.mark.timeout(600)  # seconds of work, but the machine may be busy


@pytest.fixture(scope="module")
def grounder() -> Iterator[Grounder]:
    loaded = Grounder.from_config(GrounderConfig(model="tabletop", threads=1))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of one scene, with its own scenario."""
    folder = tmp_path_factory.mktemp("recordings") / "first"
    return record(folder, RecordingPlan(range(SEED, SEED + 1), frames=2))


@pytest.fixture(scope="module")
def out(bag: Path, grounder: Grounder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a run over it."""
    folder = tmp_path_factory.mktemp("results") / "first"
    evaluate(bag, load_scenario(bag / "scenario.yaml"), SETTINGS, grounder, folder)
    return folder


def asked(path: Path, **parts: object) -> Path:
    path.write_text(yaml.safe_dump(parts))
    return path


TOPICS = {"image": "/camera/image"}
TRUTH = {"labels": "/truth/labels", "names": "/truth/label_info"}


def without_times(row: JudgedAnswer) -> JudgedAnswer:
    return replace(row, times_ms={}, rss_mb=None)


def test_every_command_is_judged_on_every_frame(bag, out, world):
    rows = list(read_rows(out / "result.jsonl"))
    commands = load_scenario(bag / "scenario.yaml").commands
    assert [(r.frame, r.text) for r in rows] == [(f, c.say) for f in (0, 1) for c in commands]
    largest = max(world.render(SEED).objects, key=lambda o: o.visible_px)
    pointed = next(r for r in rows if r.text == f"Pick up the {largest.name}.")
    assert pointed.pairs[0].name == largest.name and pointed.pairs[0].iou > 0.6
    assert 0 <= pointed.pairs[0].target_error_m < 0.02
    second = next(r for r in rows if r.frame == 1 and r.text == pointed.text)
    assert second.steadiness.iou > 0.6 and second.steadiness.true_iou > 0.6
    assert {"read", "decode", "refine", "total"} <= set(pointed.times_ms)
    assert pointed.rss_mb > 50


def test_the_summary_says_what_it_was_made_with(bag, out):
    summary = read_summary(out)
    assert summary["model"] == "tabletop" and summary["mode"] == "lockstep"
    assert summary["parameters"]["threads"] == 1
    assert summary["bags"][0]["name"] == "first" and len(summary["bags"][0]["sha256"]) == 64
    assert summary["metrics"]["frames"] == {"in_bag": 2, "used": 2}
    assert summary["metrics"]["commands"]["n"] == summary["rows"]
    assert summary["metrics"]["resources"]["cpu_percent"] > 0
    assert set(summary["machine"]) >= {"processor", "cores", "python", "torch", "commit"}
    page = (out / "index.html").read_text()
    assert "Pick up the" in page and "<svg" in page and "data:image/jpeg" in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")


def test_two_runs_give_the_same_rows(bag, out, grounder, tmp_path):
    fresh = Grounder.from_config(GrounderConfig(model="tabletop", threads=1))
    evaluate(bag, load_scenario(bag / "scenario.yaml"), SETTINGS, fresh, tmp_path)
    fresh.close()
    first, second = (
        [without_times(r) for r in read_rows(folder / "result.jsonl")] for folder in (out, tmp_path)
    )
    assert first == second


def test_refusals_chats_and_recorded_images(bag, grounder, tmp_path, world):
    thing = world.render(SEED).objects[0]
    path = asked(
        tmp_path / "s.yaml",
        topics=TOPICS,
        truth=TRUTH,
        frames={"limit": 1},
        commands=[
            {"say": "pick up the кружка", "expect": {"error": "UNKNOWN_WORD"}},
            {"say": "   ", "expect": {"error": "EMPTY_COMMAND"}},
            {"say": "y" * 2000, "expect": {"error": "COMMAND_TOO_LONG"}},
            {"say": f"point at the {thing.name}", "chat": "a"},
            {"say": "pick it up", "chat": "a", "expect": {"objects": [thing.name]}},
            {"say": "pick it up", "intent": "ground", "expect": {"error": "BAD_COMMAND"}},
        ],
        thresholds={"refusals.wrong": "== 0", "masks.mIoU": ">= 0.5"},
    )
    summary = evaluate(bag, load_scenario(path), SETTINGS, grounder, tmp_path / "out")
    errors = [r.error for r in read_rows(tmp_path / "out" / "result.jsonl")]
    assert errors == [
        "UNKNOWN_WORD",
        "EMPTY_COMMAND",
        "COMMAND_TOO_LONG",
        "OK",
        "OK",
        "BAD_COMMAND",
    ]
    assert summary["status"] == "passed"
    assert summary["metrics"]["frames"] == {"in_bag": 2, "used": 1, "dropped_not_selected": 1}


def test_a_damaged_recording_keeps_what_was_judged(bag, grounder, tmp_path, world):
    cut = tmp_path / "cut"
    shutil.copytree(bag, cut)
    file = cut / "first.mcap"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 7 // 10])
    name = world.render(SEED).objects[0].name
    command = {"say": f"the {name}", "every_s": 0, "expect": {"objects": [name]}}
    path = asked(tmp_path / "s.yaml", topics=TOPICS, truth=TRUTH, commands=[command])
    summary = evaluate(cut, load_scenario(path), SETTINGS, grounder, tmp_path / "out")
    assert summary["status"] == "damaged" and "cut off" in summary["bags"][0]["damage"]
    assert [r.frame for r in read_rows(tmp_path / "out" / "result.jsonl")] == [0]
    assert "is damaged" in (tmp_path / "out" / "index.html").read_text()


def test_exit_codes(bag, tmp_path, capsys, world):
    def run(threshold: str) -> int:
        path = asked(
            tmp_path / "s.yaml",
            topics=TOPICS,
            truth=TRUTH,
            frames={"limit": 1},
            commands=[
                {
                    "say": f"the {world.render(SEED).objects[0].name}",
                    "expect": {"objects": [world.render(SEED).objects[0].name]},
                }
            ],
            thresholds={"masks.mIoU": threshold},
        )
        arguments = [str(bag), "--scenario", str(path), "--out", str(tmp_path / "o")]
        return command_line.main([*arguments, "--set", "threads=1"])

    assert run(">= 0.3") == 0
    assert "masks.mIoU >= 0.3" in capsys.readouterr().out
    assert run(">= 1") == 1
    assert "NOT MET" in capsys.readouterr().out
    assert command_line.main([str(tmp_path / "none"), "--scenario", str(tmp_path / "s.yaml")]) == 2
    assert "nothing there" in capsys.readouterr().err
    assert command_line.main([str(tmp_path)]) == 2
    assert "expected --scenario" in capsys.readouterr().err


def test_lockstep_needs_no_ros(tmp_path):
    code = """
import sys
names = ("rclpy", "std_msgs", "sensor_msgs", "rosgraph_msgs", "flmm_ros.msg", "flmm_ros.action")
for name in names:
    sys.modules[name] = None  # from now on, importing it raises
from flmm_sim.recording import command
from flmm_ros.replay import __main__ as replay
print(replay.main(["nothing", "--mode", "online", "--scenario", sys.argv[1]]))
"""
    path = asked(tmp_path / "s.yaml", commands=[{"say": "the cube"}])
    found = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split()[-1] == "2"
    assert "mode online: expected ROS 2" in found.stderr


# Two runs.


def test_compare_names_what_became_worse(out, tmp_path, capsys):
    shutil.copytree(out, tmp_path / "after")
    rows = list(read_rows(out / "result.jsonl"))
    index = next(i for i, r in enumerate(rows) if r.pairs)
    pair = rows[index].pairs[0]
    changed = [*rows]
    changed[index] = replace(rows[index], pairs=(replace(pair, intersection_px=0),))
    (tmp_path / "after" / "result.jsonl").write_text("".join(to_json(r) + "\n" for r in changed))
    summary = read_summary(out)
    summary["metrics"]["masks"]["mIoU"] -= 0.2
    summary["metrics"]["times_ms.total"]["p50"] *= 0.5
    (tmp_path / "after" / "summary.json").write_text(json.dumps(summary))

    found = compare(out, tmp_path / "after")
    assert found.common == len(rows)
    assert [(t.after.text, t.is_better) for t in found.turned] == [(rows[index].text, False)]
    gains = {c.metric: c.gain for c in found.changes}
    assert gains["masks.mIoU"] == pytest.approx(-0.2) and gains["times_ms.total.p50"] > 0
    assert [c.metric for c in worse(found, 0.01)] == ["masks.mIoU"]
    assert rows[index].text in render_comparison(found, ("a", "<b>"))
    assert "&lt;b&gt;" in render_comparison(found, ("a", "<b>"))

    both = [str(out), str(tmp_path / "after")]
    assert command_line.main(["compare", *both]) == 0
    assert command_line.main(["compare", *both, "--tolerance", "0.01"]) == 1
    assert command_line.main(["compare", *reversed(both), "--tolerance", "0.6"]) == 1  # times
    assert command_line.main(["compare", str(tmp_path), str(out)]) == 2


# Many recordings.


class Here:
    """Does tasks in this process, and remembers which."""

    def __init__(self, settings: ReplaySettings) -> None:
        self._worker = BagWorker(settings)
        self.started: list[str] = []

    def run(self, tasks: Sequence[RecordingTask]) -> Iterator[FinishedTask]:
        for task in tasks:
            self.started.append(task.name)
            yield FinishedTask(task, self._worker.do(task))


@pytest.fixture
def many(bag: Path, tmp_path: Path) -> Path:
    """Two recordings and one that is none, one of them in a folder below."""
    folder = tmp_path / "all"
    for name in ("a", "b", "sub/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(bag, folder / name)
    (folder / "sub" / "c" / "first.mcap").write_bytes(b"no recording at all, but a long file")
    asked(
        folder / "scenario.yaml",
        topics=TOPICS,
        truth=TRUTH,
        frames={"limit": 1},
        commands=[{"say": "the cube"}],
    )
    return folder


def test_many_recordings_are_summed_up_and_not_done_twice(bag, many, tmp_path):
    assert is_folder_of_bags(many) and not is_folder_of_bags(bag)
    scenario, results = load_scenario(many / "scenario.yaml"), tmp_path / "results"
    tasks, finished = make_tasks(many, None, results), list[FinishedTask]()
    assert [t.name for t in tasks] == ["a", "b", "sub__c"]
    pool = Here(SETTINGS)
    summary = evaluate_many(tasks, scenario, SETTINGS, pool, results, finished.append)
    assert sorted(f.task.name for f in finished if not f.error) == ["a", "b"]
    assert summary["rows"] == 2 and summary["status"] == "damaged"
    assert [b["name"] for b in summary["bags"]] == ["a", "b", "sub__c"]
    assert "expected the storage of a rosbag2" in summary["bags"][2]["error"]
    assert [b["damage"] for b in summary["bags"]] == ["", "", ""]
    page = (results / "index.html").read_text()
    assert "sub__c was not evaluated: " in page and 'href="bags/a/index.html"' in page
    assert [row.bag for row in rows_in(results)] == ["a", "b"]

    # Again: only what is not done yet.
    before = (results / "bags" / "a" / "summary.json").stat().st_mtime_ns
    shutil.rmtree(results / "bags" / "b")
    pool.started.clear()
    again = evaluate_many(tasks, scenario, SETTINGS, pool, results)
    assert pool.started == ["b", "sub__c"] and again["rows"] == 2
    assert (results / "bags" / "a" / "summary.json").stat().st_mtime_ns == before
    # Made in another way, everything is done anew.
    other = ReplaySettings("tabletop", ("threads=1", "mask_threshold=0.6"))
    assert not any(is_done(task, other) for task in tasks)


def test_workers_of_the_command_line(bag, tmp_path, capsys):
    """A process of its own evaluates; a recording's own scenario and thresholds count."""
    folder = tmp_path / "all"
    shutil.copytree(bag, folder / "a")
    name = load_scenario(bag / "scenario.yaml").commands[0].expect.objects[0]
    asked(
        folder / "a" / "scenario.yaml",
        topics=TOPICS,
        truth=TRUTH,
        frames={"limit": 1},
        commands=[{"say": f"the {name}", "expect": {"objects": [name]}}],
        thresholds={"masks.mIoU": ">= 1"},
    )
    out = tmp_path / "out"
    assert command_line.main([str(folder), "--out", str(out), "--workers", "1"]) == 1
    summary = read_summary(out)
    assert summary["status"] == "failed" and summary["metrics"]["masks"]["mIoU"] > 0.6
    assert read_summary(out / "bags" / "a")["parameters"]["threads"] >= 1
    told = " ".join(capsys.readouterr().out.split())
    measured = f"masks.mIoU >= 1: {summary['metrics']['masks']['mIoU']:.4g}"
    assert f"a: {measured}, NOT MET failed; report: " in told
    assert summary["bags"][0]["missed"] == [measured] and summary["bags"][0]["status"] == "failed"


def test_the_recording_that_comes_with_the_tests(tmp_path):
    """From the command line, with its own scenario and thresholds, as in CI."""
    shipped = Path(__file__).parent / "small_recording"
    assert command_line.main([str(shipped), "--out", str(tmp_path), "--set", "threads=1"]) == 0
    summary = read_summary(tmp_path)
    assert summary["rows"] == 15 and summary["metrics"]["frames"] == {"in_bag": 3, "used": 3}
    assert summary["metrics"]["masks"]["cIoU"] > 0.6


def test_weights_that_were_trained_anew_are_another_model(bag, tmp_path):
    """So that recordings are evaluated again, although the model has the same name."""
    model = shutil.copytree(ROOT / "models" / "tabletop", tmp_path / "tabletop")
    moved = shutil.copytree(model, tmp_path / "elsewhere" / "tabletop")
    version = model_version(str(model))
    settings, scenario = ReplaySettings(str(model)), load_scenario(bag / "scenario.yaml")
    fingerprint = settings.fingerprint("0", scenario)
    assert settings.fingerprint("0", scenario) == fingerprint != settings.fingerprint("1", scenario)

    for name, at in (("heads.safetensors", -1), ("lmm/model.safetensors", -1), ("model.yaml", 0)):
        file = model / name
        content = bytearray(file.read_bytes())
        if name == "model.yaml":
            content = content.replace(b"score_threshold: 0.5", b"score_threshold: 0.6")
        else:
            content[at] ^= 1
        file.write_bytes(content)
        assert model_version(str(model)) != version, name
        shutil.copy2(moved / name, file)
        assert model_version(str(model)) == version
    assert settings.fingerprint("0", scenario) == fingerprint
    assert model_version("nowhere") != model_version("somewhere")


def test_a_scenario_cannot_ask_for_a_prohibition() -> None:
    with pytest.raises(ConfigError, match="expected one of ground, answer_and_ground, answer"):
        ScenarioCommand(say="the mug", intent=Intent.PROHIBITION)


def test_an_answer_that_only_forbids_says_so_like_the_node() -> None:
    given = given_answer_from(Answer("I leave it alone.", (), Intent.PROHIBITION))
    assert (given.error, given.error_text) == ("PROHIBITION", PROHIBITION_TEXT)
    assert given_answer_from(Answer("Two.", (), Intent.ANSWER)).error_text == ""
