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

"""Answers, heat maps and points as pages get them, by value."""

import array
import io
import json
import math
import struct

import numpy as np
import pytest
from geometry_msgs.msg import Point, Vector3
from PIL import Image as PillowImage
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from flmm_ros.console import answers
from flmm_ros.console.attachments import HEAT, POINTS, Attachments
from flmm_ros.engine.masks.overlay import PALETTE
from flmm_ros.msg import GroundedAnswer, GroundedObject
from flmm_ros.ros.messages.conversions import image_to_msg


def found(phrase: str, *, ambiguous: bool = False, span=(0, 0), target: bool = False):
    msg = GroundedObject(
        phrase=phrase, score=0.75, is_present=True, is_ambiguous=ambiguous, area_px=3
    )
    msg.text_start, msg.text_end = span
    msg.mask_runs = array.array("I", [1, 3, 2])
    msg.has_target = target
    return msg


def answer(*objects, sec: int = 5, command_id: str = "x", size=(3, 2)) -> GroundedAnswer:
    msg = GroundedAnswer(command_id=command_id, answer="the red mug.", objects=list(objects))
    msg.header.stamp.sec = sec
    msg.mask.width, msg.mask.height = size
    return msg


def test_an_answer_as_json():
    cup = found("the <b>mug</b>", span=(0, 11), target=True)
    cup.centroid_m, cup.box_size_m = Point(x=0.1, y=-0.2, z=0.5), Vector3(x=0.08, y=0.07, z=0.1)
    cup.box_pose.orientation.w = 1.0
    msg = answer(cup, found("the duck"))
    msg.stages, msg.stage_ms, msg.total_ms = ["read", "decode"], [1.26, 2.0], 3.26
    page = json.loads(json.dumps(answers.to_page(msg), allow_nan=False))
    assert page["error"] == "OK" and page["size"] == [3, 2]
    assert page["stages"] == [["read", 1.26], ["decode", 2.0]]
    first, second = page["objects"]
    assert first["phrase"] == "the <b>mug</b>"
    assert (first["runs"], first["span"], first["score"]) == ([1, 3, 2], [0, 11], 0.75)
    assert [first["color"], second["color"]] == ["#" + bytes(color).hex() for color in PALETTE[:2]]
    assert first["target"]["centroid_m"] == [0.1, -0.2, 0.5]
    assert first["target"]["box_size_m"] == [0.08, 0.07, 0.1]
    assert first["target"]["box_xyzw"] == [0, 0, 0, 1]
    assert second["target"] is None


def test_a_number_that_is_none_does_not_break_json():
    msg = answer(found("the mug"))
    msg.objects[0].score = math.nan
    assert answers.to_page(msg)["objects"][0]["score"] == 0.0


def test_a_refusal_as_json():
    msg = GroundedAnswer(error_code=GroundedAnswer.CANCELED, error_text="cancelled")
    page = answers.to_page(msg)
    assert (page["error"], page["error_text"], page["objects"]) == ("CANCELED", "cancelled", [])


def test_candidates_of_one_phrase_share_their_heat_map():
    msg = answer(
        found("the mug"),
        found("the cube", ambiguous=True),
        found("the cube", ambiguous=True),
        found("the duck"),
        found("the duck"),
    )
    assert answers.heat_indices(msg) == [0, 1, 1, 2, 3]


def stacked(*values: int):
    rgb = np.concatenate([np.full((20, 30, 3), value, np.uint8) for value in values])
    return image_to_msg(rgb, Header())


def test_heat_pictures_are_cut_in_order():
    pictures = answers.heat_pictures(stacked(10, 200, 90), 3)
    means = [np.asarray(PillowImage.open(io.BytesIO(data))).mean() for data in pictures]
    assert means == pytest.approx([10, 200, 90], abs=2)


@pytest.mark.parametrize("count", [0, 7])
def test_heat_pictures_of_another_number_are_refused(count):
    with pytest.raises(ValueError, match=f"expected {count} pictures, got 60 rows"):
        answers.heat_pictures(stacked(1, 2, 3), count)


def test_pictures_keep_colours_and_are_not_larger_than_a_page_needs():
    rgb = np.zeros((1000, 2000, 3), np.uint8)
    rgb[..., 0] = 250
    made = answers.pictures_of_msg(image_to_msg(rgb, Header()))
    full, thumb = (PillowImage.open(io.BytesIO(data)) for data in (made.full, made.thumb))
    assert full.size == (1280, 640) and thumb.size == (192, 96)
    assert np.asarray(full, int)[10, 10] == pytest.approx([250, 0, 0], abs=4)


def cloud(xyz: np.ndarray, rgb: list[int], *, big: bool = False, gap: int = 0) -> PointCloud2:
    """x, y, z, some unused bytes, rgb."""
    order = ">" if big else "<"
    rows = [
        struct.pack(f"{order}fff{gap}xI", *point, color)
        for point, color in zip(xyz, rgb, strict=True)
    ]
    msg = PointCloud2(height=1, width=len(rows), is_bigendian=big, point_step=16 + gap)
    msg.fields = [
        PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
        for name, offset in (("x", 0), ("y", 4), ("z", 8), ("rgb", 12 + gap))
    ]
    msg.data = array.array("B", b"".join(rows))
    return msg


@pytest.mark.parametrize(("big", "gap"), [(False, 0), (True, 0), (False, 4)])
def test_points_with_colours(big, gap):
    xyz = np.array([[1, 2, 3], [np.nan, 0, 0], [4, 5, 6]], np.float32)
    places, colors = answers.points_of_msg(cloud(xyz, [0x102030, 0, 0xFF0001], big=big, gap=gap))
    np.testing.assert_array_equal(places, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(colors, [[16, 32, 48], [255, 0, 1]])


def test_of_very_many_points_a_share_without_stripes_is_taken():
    count = 3 * answers.MAX_POINTS
    numbers = np.arange(count)
    xyz = np.stack([numbers, numbers % 300, numbers // 300], axis=1).astype(np.float32)
    places, colors = answers.points_of_msg(cloud(xyz, [int(n) for n in numbers]))
    assert len(np.unique(places[:, 0])) == len(colors) == answers.MAX_POINTS
    packed = colors.astype(int) @ (1 << 16, 1 << 8, 1)
    np.testing.assert_array_equal(packed, places[:, 0])  # each with its own colour
    columns = np.bincount(places[:, 1].astype(int), minlength=300)
    assert 0.5 * columns.mean() < columns.min() and columns.max() < 1.5 * columns.mean()


def test_points_for_the_page():
    places = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    data = answers.points_to_page(places, np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    assert data[:4] == b"\x02\x00\x00\x00" and data[-6:] == b"\x01\x02\x03\x04\x05\x06"
    np.testing.assert_array_equal(np.frombuffer(data[4:28], "<f4").reshape(2, 3), places)


def test_broken_clouds_are_refused():
    good = cloud(np.ones((2, 3), np.float32), [0, 0])
    good.data = good.data[:-1]
    with pytest.raises(ValueError, match="expected 2 of 16 bytes, got 31"):
        answers.points_of_msg(good)
    with pytest.raises(ValueError, match="expected the fields x, y, z"):
        answers.points_of_msg(PointCloud2())


class Matches:
    """Which attachment went to which answer."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, object]] = []
        self.attachments = Attachments(
            lambda answer, kind, msg: self.made.append((answer.command_id, kind, msg))
        )


def heat(sec: int, count: int = 1, size=(3, 2)):
    msg = image_to_msg(np.zeros((count * size[1], size[0], 3), np.uint8), Header())
    msg.header.stamp.sec = sec
    return msg


def test_attachments_of_one_stamp_go_in_the_order_of_the_answers():
    matches = Matches()
    for name in ("a", "b"):
        matches.attachments.add_answer(answer(found("the mug"), command_id=name))
    first, second = heat(5), heat(5)
    matches.attachments.add_attachment(HEAT, first)
    matches.attachments.add_attachment(HEAT, second)
    matches.attachments.add_attachment(HEAT, heat(5))
    assert matches.made == [("a", HEAT, first), ("b", HEAT, second)]


def test_a_companion_that_does_not_fit_goes_to_the_answer_it_fits():
    matches = Matches()
    matches.attachments.add_answer(answer(found("the mug"), command_id="one"))
    matches.attachments.add_answer(answer(found("the mug"), found("the duck"), command_id="two"))
    matches.attachments.add_answer(answer(found("the mug"), command_id="later", sec=6))
    for msg in (heat(5, 2), heat(6)):
        matches.attachments.add_attachment(HEAT, msg)
    assert [name for name, _, _ in matches.made] == ["two", "later"]


def test_a_companion_may_overtake_its_answer():
    matches = Matches()
    matches.attachments.add_attachment(HEAT, heat(5))
    assert matches.made == []
    matches.attachments.add_answer(answer(found("the mug"), command_id="a"))
    assert [(name, kind) for name, kind, _ in matches.made] == [("a", HEAT)]


def test_only_answers_with_a_target_wait_for_points():
    matches = Matches()
    matches.attachments.add_answer(answer(found("the mug"), command_id="flat"))
    matches.attachments.add_answer(answer(found("the mug", target=True), command_id="deep"))
    points = PointCloud2()
    points.header.stamp.sec = 5
    points.header.frame_id = "base"
    matches.attachments.add_attachment(POINTS, points)
    assert matches.made == [("deep", POINTS, points)]


def test_an_answer_without_objects_waits_for_nothing():
    matches = Matches()
    matches.attachments.add_answer(answer(command_id="words only"))
    matches.attachments.add_attachment(HEAT, heat(5))
    assert matches.made == []
