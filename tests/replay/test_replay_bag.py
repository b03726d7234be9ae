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

"""Recordings of every form are read alike; broken ones give their beginning, others a reason."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Writer

from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.masks import rle
from flmm_ros.replay.recording.bag import Bag, BagError
from flmm_ros.replay.recording.message_types import message_types
from flmm_ros.replay.recording.recorded_frames import RecordedFrame, frames
from flmm_ros.replay.recording.true_masks import load_sidecar
from flmm_ros.replay.runs.schedule import all_commands
from flmm_ros.replay.scenario import (
    Scenario,
    ScenarioCommand,
    ScenarioTopics,
    TruthSource,
    load_scenario,
)
from flmm_sim.recording.recording import RecordingPlan, record
from flmm_sim.tabletop.tabletop import Tabletop

SEED = 2_000_200
SMALL = RecordingPlan(
    range(SEED, SEED + 1), frames=3, width_px=96, height_px=72, noise=0.0, turn_deg=0.0
)
FORMS = [
    ("sqlite3", "none"),
    ("sqlite3", "message"),
    ("sqlite3", "file"),
    ("mcap", "none"),
    ("mcap", "message"),
    ("mcap", "file"),
    ("mcap", "chunk"),
]


# 320x240 JPEG, made with: record tests/replay/small_recording --seeds 2000201:2000202 --frames 3
# --jpeg --compression chunk --width 320 --height 240
SHIPPED = Path(__file__).parent / "small_recording"


def made(folder: Path, **changes: object) -> Path:
    return record(folder / "bag", RecordingPlan(**{**vars(SMALL), **changes}))  # type: ignore[arg-type]


def all_frames(bag: Path, scenario: Scenario | None = None) -> tuple[list[RecordedFrame], str]:
    with Bag(bag) as opened:
        found = list(frames(opened, scenario or load_scenario(bag / "scenario.yaml")))
        return found, opened.damage


@pytest.mark.parametrize(("storage", "compression"), FORMS)
def test_every_form_gives_the_same_frames(tmp_path, world, storage, compression):
    bag = made(tmp_path, storage=storage, compression=compression)
    found, damage = all_frames(bag)
    assert damage == "" and [f.index for f in found] == [0, 1, 2]
    assert [round(f.t_s, 6) for f in found] == [0.0, 0.1, 0.2]
    with Tabletop(96, 72) as small:
        scene = small.render(SEED)
    for frame in found:
        np.testing.assert_array_equal(frame.rgb(), scene.rgb)
        assert set(frame.truth) == {o.name for o in scene.objects}
        for thing in scene.objects:
            np.testing.assert_array_equal(frame.truth[thing.name], scene.mask(thing))
        assert frame.depth.encoding == "16UC1" and frame.camera_info.k[0] == scene.K[0, 0]


def test_jpeg_and_metres(tmp_path):
    bag = made(tmp_path, is_jpeg=True, depth_encoding="32FC1")
    found, _ = all_frames(bag)
    with Tabletop(96, 72) as small:
        scene = small.render(SEED)
    assert np.abs(found[0].rgb().astype(int) - scene.rgb).mean() < 4
    np.testing.assert_array_equal(found[0].depth.data.view("<f4").reshape(72, 96), scene.depth_m)


def test_the_recording_that_comes_with_the_tests_reads_as_ever():
    """It was written once: whatever changes in writing recordings, old ones are still read."""
    found, damage = all_frames(SHIPPED)
    assert not damage and [f.stamp_ns % 10**9 for f in found] == [0, 100_000_000, 200_000_000]
    areas_px = [{name: int(mask.sum()) for name, mask in f.truth.items()} for f in found]
    assert areas_px[0] == {
        "white cube": 2583,
        "yellow bunny": 658,
        "green duck": 1412,
        "orange bunny": 505,
        "red duck": 1305,
    }
    assert [areas["white cube"] for areas in areas_px] == [2583, 2577, 2580]
    assert [f.camera_info.k[0] for f in found] == pytest.approx([312.6107] * 3, abs=1e-4)
    mean_rgb = found[0].rgb().mean(axis=(0, 1))
    np.testing.assert_allclose(mean_rgb, [196.06, 194.45, 185.51], atol=0.1)  # JPEG decoders differ
    with Bag(SHIPPED) as bag:
        assert bag.sha256().startswith("76c991650bb6d0c4")


def test_the_same_arguments_make_the_same_recording(tmp_path):
    hashes = []
    for name in "ab":
        bag = record(tmp_path / name / "bag", RecordingPlan(**{**vars(SMALL), "noise": 3.0}))
        with Bag(bag) as opened:
            hashes.append(opened.sha256())
    assert hashes[0] == hashes[1]


def test_the_camera_moves_and_names_follow(tmp_path):
    bag = made(tmp_path, turn_deg=8.0)
    found, _ = all_frames(bag)
    name = next(iter(found[0].truth))
    assert not np.array_equal(found[0].truth[name], found[2].truth[name])


def test_one_storage_file_is_a_recording_too(tmp_path):
    bag = made(tmp_path)
    found, damage = all_frames(bag / "bag.mcap", load_scenario(bag / "scenario.yaml"))
    assert len(found) == 3 and damage == ""


def test_sentences_that_were_recorded_are_asked_again(tmp_path):
    store = message_types()
    types = store.types
    with Writer(tmp_path / "bag", version=9) as writer:
        image_at = writer.add_connection("/image", "sensor_msgs/msg/Image", typestore=store)
        said_at = writer.add_connection("/command", "std_msgs/msg/String", typestore=store)
        for time_ns in (10**18, 10**18 + 500_000_000):
            sec, nanosec = divmod(time_ns, 10**9)
            stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
            image = types["sensor_msgs/msg/Image"](
                header=types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera"),
                height=2,
                width=2,
                encoding="rgb8",
                is_bigendian=0,
                step=6,
                data=np.zeros(12, np.uint8),
            )
            data = store.serialize_cdr(image, "sensor_msgs/msg/Image")
            writer.write(image_at, time_ns, data)
        words = types["std_msgs/msg/String"](data="pick up the red mug")
        data = store.serialize_cdr(words, "std_msgs/msg/String")
        writer.write(said_at, 10**18 + 250_000_000, data)
    scenario = Scenario("s", (ScenarioCommand("look"),), ScenarioTopics(command="/command"))
    with Bag(tmp_path / "bag") as bag:
        commands = all_commands(bag, scenario)
    assert commands == (ScenarioCommand("look"), ScenarioCommand("pick up the red mug", at_s=0.25))


# Damage. What stands before it is used.


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recording_without_metadata_was_not_finished(tmp_path, storage):
    bag = made(tmp_path, storage=storage, compression="message")
    (bag / "metadata.yaml").unlink()
    found, damage = all_frames(bag)
    assert len(found) == 3 and "was not finished" in damage


@pytest.mark.parametrize("compression", ["none", "message", "chunk"])
def test_a_truncated_mcap_gives_its_beginning(tmp_path, compression):
    bag = made(tmp_path, compression=compression, frames=20, noise=40.0)
    file = bag / "bag.mcap"
    whole, _ = all_frames(bag)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    found, damage = all_frames(bag)
    assert damage
    assert 5 <= len(found) < 20
    for a, b in zip(found, whole, strict=False):
        np.testing.assert_array_equal(a.rgb(), b.rgb())


def test_a_truncated_sqlite_gives_its_beginning(tmp_path):
    bag = made(tmp_path, storage="sqlite3", frames=8, noise=40.0)
    file = bag / "bag.db3"
    whole, _ = all_frames(bag)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    found, damage = all_frames(bag)
    assert damage and 3 <= len(found) < 8
    np.testing.assert_array_equal(found[1].rgb(), whole[1].rgb())


def test_a_truncated_compressed_file_gives_its_beginning(tmp_path):
    bag = made(tmp_path, storage="mcap", compression="file", frames=20, noise=40.0)
    file = next(bag.glob("*.zstd"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    found, damage = all_frames(bag)
    assert damage and 5 <= len(found) < 20


def test_a_broken_chunk_is_damage_and_no_crash(tmp_path):
    bag = made(tmp_path, compression="chunk")
    file = bag / "bag.mcap"
    data = bytearray(file.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 2000] = b"\xff" * 2000
    file.write_bytes(bytes(data))
    found, damage = all_frames(bag)
    assert damage and len(found) < 3


def test_an_image_whose_bytes_are_none_is_a_frame_that_cannot_be_decoded(tmp_path):
    bag = made(tmp_path, storage="sqlite3")
    with sqlite3.connect(bag / "bag.db3") as db:
        topic = db.execute("SELECT id FROM topics WHERE name='/camera/image'").fetchone()[0]
        row = db.execute("SELECT min(id) FROM messages WHERE topic_id=?", (topic,)).fetchone()[0]
        db.execute("UPDATE messages SET data=? WHERE id=?", (b"\x00\x01\x00\x00abc", row))
    found, _ = all_frames(bag)
    assert len(found) == 3
    with pytest.raises(Exception, match="width and height"):
        found[0].rgb()
    assert found[1].rgb().shape == (72, 96, 3)


# Foreign and wrong.


def test_what_is_no_recording_is_refused_with_the_reason(tmp_path):
    with pytest.raises(BagError, match="nothing there"):
        Bag(tmp_path / "none")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BagError, match="ROS 1; convert it with rosbags-convert"):
        Bag(tmp_path / "old.bag")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"x")
    with pytest.raises(BagError, match=r"expected a rosbag2 folder .* got a\.png"):
        Bag(tmp_path / "pictures")
    (tmp_path / "text.mcap").write_text("hello, I am no recording")
    with pytest.raises(BagError, match="begins with b'hello, "):
        Bag(tmp_path / "text.mcap")


def test_topics_that_are_not_there_are_named(tmp_path):
    bag = made(tmp_path)
    command = (ScenarioCommand("the cube"),)
    with pytest.raises(BagError, match=r"expected images on /cam, got /camera/camera_info"):
        all_frames(bag, Scenario("s", command, ScenarioTopics(image="/cam")))
    with pytest.raises(BagError, match="expected one topic of images"):
        all_frames(bag, Scenario("s", command))  # camera, depth and labels
    with pytest.raises(BagError, match="expected the topic /truth/none"):
        topics, truth = ScenarioTopics(image="/camera/image"), TruthSource(labels="/truth/none")
        all_frames(bag, Scenario("s", command, topics, truth=truth))


def test_the_only_image_topic_needs_no_name(tmp_path):
    bag = made(tmp_path, depth_encoding="")
    truth = TruthSource(labels="/truth/labels", fixed_names={1: "thing"})
    found, _ = all_frames(bag, Scenario("s", (ScenarioCommand("the cube"),), truth=truth))
    assert len(found) == 3 and set(found[0].truth) == {"thing"}


# True masks beside the recording.


def test_a_sidecar_is_matched_by_stamp_within_the_tolerance(tmp_path):
    bag = made(tmp_path)
    known, _ = all_frames(bag)
    name, mask = next(iter(known[1].truth.items()))
    left = mask & (np.arange(96) < np.nonzero(mask)[1].mean())
    parts = [left, mask & ~left]  # two annotations of one thing are one mask
    content = {
        "images": [{"id": 7, "stamp_ns": known[1].stamp_ns + 2_000_000}],
        "categories": [{"id": 3, "name": name}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "segmentation": rle.encode(part)} for part in parts
        ],
    }
    (tmp_path / "truth.json").write_text(json.dumps(content))
    path = tmp_path / "s.yaml"
    for tolerance_ms, expected in ((3.0, [None, name, None]), (1.0, [None, None, None])):
        source = TruthSource(sidecar="truth.json", tolerance_ms=tolerance_ms)
        topics = ScenarioTopics(image="/camera/image")
        scenario = Scenario("s", (ScenarioCommand("x y"),), topics, truth=source, path=path)
        found, _ = all_frames(bag, scenario)
        assert [next(iter(f.truth)) if f.truth else None for f in found] == expected
    found, _ = all_frames(
        bag,
        Scenario(
            "s",
            (ScenarioCommand("x"),),
            topics,
            truth=TruthSource(sidecar="truth.json", tolerance_ms=3.0),
            path=path,
        ),
    )
    np.testing.assert_array_equal(found[1].truth[name], mask)


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}', '{"images": 3}'])
def test_a_broken_sidecar_is_refused(tmp_path, content):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(ConfigError, match="expected COCO JSON"):
        load_sidecar(tmp_path / "t.json")
    with pytest.raises(ConfigError, match="nothing there"):
        load_sidecar(tmp_path / "none.json")


def test_run_lengths_are_those_of_coco():
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (7, 5), (40, 64), (120, 90)):
        for share in (0.0, 0.03, 0.5, 0.97, 1.0):
            mask = rng.random(shape) < share
            theirs = coco.encode(np.asfortranarray(mask, np.uint8))
            assert rle.encode(mask) == {
                "size": list(shape),
                "counts": theirs["counts"].decode(),
            }
            np.testing.assert_array_equal(rle.decode(theirs), mask)
            np.testing.assert_array_equal(rle.decode(rle.encode(mask)), mask)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"size": [2, 2]},
        {"size": [2, 2], "counts": [1, 1]},
        {"size": 3, "counts": "a"},
        {"size": [2, 2], "counts": "4P"},  # "P" goes on
        {"size": [2, 2], "counts": "4~"},
    ],
)
def test_broken_run_lengths_are_refused(broken):
    with pytest.raises(ValueError, match="expected"):
        rle.decode(broken)


def test_an_existing_folder_is_not_overwritten(tmp_path):
    bag = made(tmp_path)
    with pytest.raises(FileExistsError, match="expected a new folder"):
        record(bag, SMALL)
    with pytest.raises(ConfigError, match="at least 96x72"):
        made(tmp_path / "other", width_px=48, height_px=36)
    with pytest.raises(ConfigError, match="chunk"):
        made(tmp_path / "other", storage="sqlite3", compression="chunk")
    shutil.rmtree(bag)
