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

"""Recordings of other tools, other years and careless drivers: read, or refused with what to do."""

import shutil
import sqlite3
import struct
from pathlib import Path

import pytest
import yaml
from rosbags.rosbag2 import Reader, StoragePlugin, Writer

from flmm_ros.replay.judging.judge import AnsweredObject, AnswerJudge, GivenAnswer
from flmm_ros.replay.recording.bag import Bag, BagError
from flmm_ros.replay.recording.bag_topics import check_topics
from flmm_ros.replay.recording.message_types import message_types
from flmm_ros.replay.recording.recorded_frames import frames
from flmm_ros.replay.runs.many_recordings import find_bags
from flmm_ros.replay.runs.schedule import FrameCounts
from flmm_ros.replay.scenario import Expectation, Scenario, ScenarioCommand, ScenarioTopics
from flmm_ros.replay.scenario import load_scenario as scenario_in

SMALL = Path(__file__).parent / "small_recording"
SCENARIO = scenario_in(SMALL / "scenario.yaml")
STORE = message_types()


def copied(target: Path, plugin=StoragePlugin.MCAP, change=lambda topic, msg: None) -> Path:
    """The small recording in another storage, each message changed."""
    with Reader(SMALL) as reader, Writer(target, version=9, storage_plugin=plugin) as writer:
        made = {
            c.id: writer.add_connection(c.topic, c.msgtype, typestore=STORE)
            for c in reader.connections
        }
        for c, log_ns, data in reader.messages():
            msg = STORE.deserialize_cdr(data, c.msgtype)
            change(c.topic, msg)
            writer.write(made[c.id], log_ns, STORE.serialize_cdr(msg, c.msgtype))
    return target


def storage_in(folder: Path) -> Path:
    return next(p for p in folder.iterdir() if p.suffix in (".mcap", ".db3"))


def metadata_of(folder: Path, **changes: object) -> None:
    path = folder / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    content["rosbag2_bagfile_information"].update(changes)
    path.write_text(yaml.safe_dump(content))


def read(folder: Path, scenario: Scenario = SCENARIO):
    """Frames, damage and notes."""
    with Bag(folder) as bag:
        return list(frames(bag, scenario)), bag.damage, bag.notes


def text(words: str) -> bytes:
    return struct.pack("<I", len(words)) + words.encode()


def mcap_of(encoding: str, kind: str, profile: str = "", data: bytes = b"\0" * 40) -> bytes:
    """An MCAP file as other tools write it: one message, no index."""

    def record(number: int, content: bytes) -> bytes:
        return struct.pack("<BQ", number, len(content)) + content

    channel = struct.pack("<HH", 1, 1) + text("/camera") + text(encoding) + struct.pack("<I", 0)
    return (
        b"\x89MCAP0\r\n"
        + record(1, text(profile) + text("some tool"))
        + record(3, struct.pack("<H", 1) + text(kind) + text("some schema") + text("x"))
        + record(4, channel)
        + record(5, struct.pack("<HIQQ", 1, 0, 10, 10) + data)
        + record(15, struct.pack("<I", 0))
        + record(2, struct.pack("<QQI", 0, 0, 0))
        + b"\x89MCAP0\r\n"
    )


@pytest.mark.parametrize(
    ("encoding", "kind", "words"),
    [
        ("ros1", "sensor_msgs/CompressedImage", r"one of ROS 1; convert it with rosbags-convert"),
        (
            "protobuf",
            "foxglove.CompressedImage",
            r"ROS 2 \(encoding cdr\), got /camera",
        ),
        ("json", "foxglove.RawImage", r"/camera \(foxglove.RawImage, json\)"),
    ],
)
def test_messages_that_are_not_of_ros_2_are_refused_by_name(tmp_path, encoding, kind, words):
    (tmp_path / "other.mcap").write_bytes(mcap_of(encoding, kind))
    with pytest.raises(BagError, match=words):
        Bag(tmp_path / "other.mcap")


def test_an_mcap_without_index_and_profile_is_whole(tmp_path):
    data = bytes(STORE.serialize_cdr(STORE.types["std_msgs/msg/String"](data="hi"), STRING))
    (tmp_path / "plain.mcap").write_bytes(mcap_of("cdr", STRING, data=data))
    with Bag(tmp_path / "plain.mcap") as bag:
        assert bag.damage == "" and bag.topics["/camera"].count == 1
        assert [bag.decode(m).data for m in bag.messages(["/camera"])] == ["hi"]


STRING = "std_msgs/msg/String"


@pytest.mark.parametrize(
    ("broken", "note"),
    [
        (lambda f: metadata_of(f, version=10), ""),
        (lambda f: metadata_of(f, storage_identifier="my_own"), ""),
        (lambda f: metadata_of(f, relative_file_paths=["/robot/x/" + storage_in(f).name]), ""),
        (lambda f: metadata_of(f, relative_file_paths=["old.mcap"]), "names old.mcap, read was"),
        (lambda f: (f / "metadata.yaml").write_text(""), "metadata.yaml cannot be used"),
        (lambda f: (f / "metadata.yaml").write_text("a: [\x00"), "metadata.yaml cannot be used"),
        (lambda f: (f / "metadata.yaml").write_bytes(b"\xff\xfe"), "metadata.yaml cannot be used"),
        (lambda f: (f / "metadata.yaml").write_text("[]"), "metadata.yaml cannot be used"),
    ],
)
@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_whatever_metadata_says_whole_files_are_no_damage(tmp_path, plugin, broken, note):
    folder = copied(tmp_path / "bag", plugin)
    broken(folder)
    found, damage, notes = read(folder)
    assert len(found) == 3 and damage == ""
    assert all(f.truth and f.depth is not None for f in found)
    assert (note in " ".join(notes)) if note else notes == []


def test_files_of_other_systems_beside_it_are_none_of_it(tmp_path):
    folder = copied(tmp_path / "top" / "bag")
    (folder / "._bag.mcap").write_bytes(b"\0\5\x16\7" + bytes(60))
    assert [len(read(folder)[0]), read(folder)[1]] == [3, ""]
    (folder / "metadata.yaml").unlink()
    found, damage, _ = read(folder)
    assert len(found) == 3 and damage == "metadata.yaml is missing: the recording was not finished"
    (tmp_path / "top" / "mac").mkdir()
    (tmp_path / "top" / "mac" / "._bag.mcap").write_bytes(b"x")
    assert find_bags(tmp_path / "top") == [folder]


def test_a_part_that_was_not_copied_is_damage_with_its_name(tmp_path):
    folder = copied(tmp_path / "bag", StoragePlugin.SQLITE3)
    own = storage_in(folder).name
    metadata_of(folder, relative_file_paths=[own, "bag_1.db3"], message_count=99)
    found, damage, _ = read(folder)
    assert len(found) == 3 and damage == "bag_1.db3 is missing, which metadata.yaml lists"
    metadata_of(folder, relative_file_paths=["bag_0.db3", own])
    with pytest.raises(BagError, match=r"expected its first file bag_0\.db3"):
        Bag(folder)


def test_parts_are_read_by_number(tmp_path):
    folder = copied(tmp_path / "bag", StoragePlugin.SQLITE3)
    whole = storage_in(folder)
    for number in (2, 10):
        part = shutil.copy(whole, folder / f"bag_{number}.db3")
        with sqlite3.connect(part) as db:  # all later
            db.execute("UPDATE messages SET timestamp = timestamp + ?", (number * 10**9,))
    whole.unlink()
    (folder / "metadata.yaml").unlink()
    with Bag(folder) as bag:
        times = [m.log_ns for m in bag.messages(["/camera/depth"])]
    assert len(times) == 6 and times == sorted(times)


def test_vanished_messages_and_several_recordings_are_noticed(tmp_path):
    folder = copied(tmp_path / "bag")
    metadata_of(folder, message_count=99)
    assert read(folder)[1] == "metadata.yaml counts 99 messages, the files hold 13"
    (folder / "metadata.yaml").unlink()
    shutil.copy(storage_in(folder), folder / "monday.mcap")
    with pytest.raises(BagError, match=r"expected one recording, got the files of several"):
        Bag(folder)


def test_the_log_of_a_killed_recorder_is_read(tmp_path):
    """SQLite keeps the newest messages beside the file until it is closed."""
    folder = copied(tmp_path / "bag", StoragePlugin.SQLITE3)
    file = storage_in(folder)
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("INSERT INTO messages SELECT NULL, topic_id, timestamp + 300000000, data "
               "FROM messages WHERE id = (SELECT max(id) FROM messages)")  # fmt: skip
    db.commit()
    killed = shutil.copytree(folder, tmp_path / "killed")  # as it is now, not closed
    db.close()
    with Bag(killed) as bag:
        assert sum(topic.count for topic in bag.topics.values()) == 14 and bag.damage == ""


def test_folders_and_files_that_are_no_recording(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "drive.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BagError, match=r"rosbags-convert --src .*drive\.bag --dst drive"):
        Bag(tmp_path / "old")
    (tmp_path / "renamed.mcap").write_bytes(b"#ROSBAG V2.0\n" + bytes(20))
    with pytest.raises(BagError, match="got one of ROS 1"):
        Bag(tmp_path / "renamed.mcap")
    sqlite3.connect(tmp_path / "other.db3").execute("CREATE TABLE t(a)").connection.close()
    with pytest.raises(BagError, match="nothing can be read: .*no such table: topics"):
        Bag(tmp_path / "other.db3")
    (tmp_path / "empty.mcap").touch()
    with pytest.raises(BagError, match="got an empty file"):
        Bag(tmp_path / "empty.mcap")


def test_topics_of_other_types_and_without_images_are_named(tmp_path):
    with Bag(SMALL) as bag:
        for part, words in (
            ({"camera_info": "/camera/depth"}, "expected messages of .*CameraInfo, got .*Image"),
            ({"command": "/truth/labels"}, "expected messages of std_msgs/msg/String, got"),
        ):
            topics = ScenarioTopics(image="/camera/image/compressed", **part)
            with pytest.raises(BagError, match=words):
                check_topics(bag, Scenario("s", (ScenarioCommand("x"),), topics))
    with Writer(tmp_path / "bag", version=9) as writer:
        writer.add_connection("/camera/image", "sensor_msgs/msg/Image", typestore=STORE)
    with pytest.raises(BagError, match=r"expected images on /camera/image, got .*Image, 0\)"):
        read(tmp_path / "bag", Scenario("s", (ScenarioCommand("x"),)))


def test_a_type_that_was_defined_otherwise_is_refused_with_the_fields(tmp_path):
    folder = copied(tmp_path / "bag", StoragePlugin.SQLITE3)
    with sqlite3.connect(storage_in(folder)) as db:
        db.execute(
            "UPDATE message_definitions SET encoded_message_definition = ? WHERE topic_type = ?",
            ("std_msgs/Header header\nuint8[] data\n", "sensor_msgs/msg/CompressedImage"),
        )
    with pytest.raises(BagError, match=r"header, format, data, got .* \(they differ in format\)"):
        read(folder)


# Stamps.


def zeroed(topic, msg):
    msg.header.stamp.sec = msg.header.stamp.nanosec = 0


def depth_late(ms):
    def change(topic, msg):
        if topic.startswith("/camera/") and "image" not in topic:
            ns = msg.header.stamp.nanosec + ms * 1_000_000
            msg.header.stamp.nanosec = ns

    return change


def areas(found):
    return [{n: int(m.sum()) for n, m in f.truth.items()} for f in found]


@pytest.mark.parametrize("stampless", [("/",), ("/camera",), ("/truth",)])
def test_without_stamps_the_times_of_recording_count(tmp_path, stampless):
    def change(topic, msg):
        if topic.startswith(stampless):
            zeroed(topic, msg)

    found, _, _ = read(copied(tmp_path / "bag", change=change))
    whole, _, _ = read(SMALL)
    assert areas(found) == areas(whole) and [f.gaps for f in found] == [{}] * 3
    assert all((f.depth.data == w.depth.data).all() for f, w in zip(found, whole, strict=True))


def test_depth_beside_its_image_is_used_as_the_node_does(tmp_path):
    found, _, _ = read(copied(tmp_path / "bag", change=depth_late(8)))
    assert all(f.depth is not None and f.camera_info is not None for f in found)


def test_what_fits_no_image_is_counted_with_the_reason(tmp_path):
    found, _, _ = read(copied(tmp_path / "bag", change=depth_late(300)))
    assert [f.depth for f in found] == [None] * 3 and all(f.truth for f in found)
    counts = FrameCounts(in_bag=3, used=3)
    for frame in found:
        counts.add_gaps(frame.gaps)
    (note,) = counts.gap_notes()
    assert note.startswith("3 of 3 images were judged without depth: expected a message on /camera")
    assert "within 50 ms of its stamp, the nearest is 300 ms later" in note


def test_labels_of_another_size_or_form_are_gaps_and_no_end(tmp_path):
    def change(topic, msg):
        if topic == "/truth/labels":
            msg.encoding = "rgb8"

    found, _, _ = read(copied(tmp_path / "bag", change=change))
    assert [f.truth for f in found] == [None] * 3
    assert "expected mono8 or mono16, got 'rgb8'" in found[0].gaps["truth"]

    def halved(topic, msg):
        if topic == "/truth/labels":
            msg.height //= 2
            msg.data = msg.data[: len(msg.data) // 2]

    found, _, _ = read(copied(tmp_path / "half", change=halved))
    assert "expected true masks of 320x240 pixels like the image" in found[0].gaps["truth"]


def test_depth_that_cannot_be_used_is_a_gap_and_no_end(tmp_path):
    def change(topic, msg):
        if topic == "/camera/depth":
            msg.encoding = "rgb8"

    found, _, _ = read(copied(tmp_path / "bag", change=change))
    judge, name = AnswerJudge("bag"), "white cube"
    mask = found[0].truth[name]
    seen = AnsweredObject(name, 0.9, True, False, (0, 0, 1, 1), mask)
    row = judge.judge(
        found[0], 0, "x", Expectation(objects=(name,)), GivenAnswer("", objects=(seen,))
    )
    assert row.pairs[0].iou == 1.0 and row.pairs[0].target_error_m is None
    assert "got 'rgb8'" in judge.gaps_of(found[0])["depth"]
