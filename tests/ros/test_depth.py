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

"""Depth messages, their match to an image, poses, clouds and other people's messages, by value."""

import array
import importlib
import json
import re
import struct
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Pose, Transform
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from flmm_ros.cli import ask
from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.msg import GroundedAnswer, GroundedObject
from flmm_ros.ros.client.client import result_from_msg
from flmm_ros.ros.depth.camera_model import intrinsics_from_msg, is_rectified
from flmm_ros.ros.depth.depth_decoding import depth_m_from_msg
from flmm_ros.ros.depth.depth_images import DepthImages, DepthSource
from flmm_ros.ros.images.serialized_image import stamp_of_bytes
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.messages.found_target import target_from_msg
from flmm_ros.ros.messages.point_cloud import cloud_to_msg
from flmm_ros.ros.messages.poses import matrix_of, pose_to_msg, quaternion_of, rotation_of
from flmm_ros.ros.messages.vision_messages import VisionMessages
from flmm_ros.ros.targets import target_messages
from flmm_ros.ros.targets.target_finding import TargetSettings, find_targets, main_target
from flmm_ros.ros.targets.target_markers import markers_to_msg
from flmm_ros.ros.targets.transforms import TransformError, Transforms

SECOND = 1_000_000_000
SETTINGS = TargetSettings(TargetConfig(), 0.05, True, "", 0.1)


def header(ns: int, frame: str = "camera") -> Header:
    msg = Header(frame_id=frame)
    msg.stamp.sec, msg.stamp.nanosec = divmod(ns, SECOND)
    return msg


def depth_msg(values, encoding: str, *, padding: int = 0, big: bool = False, at=None) -> Image:
    order = (">" if big else "<") + ("u2" if encoding != "32FC1" else "f4")
    rows = np.asarray(values).astype(order)
    height, width = rows.shape
    raw = rows.view(np.uint8).reshape(height, -1)
    raw = np.pad(raw, ((0, 0), (0, padding)), constant_values=255)
    msg = Image(header=at or Header(), height=height, width=width, encoding=encoding)
    msg.step, msg.is_bigendian = raw.shape[1], int(big)
    msg.data = array.array("B", raw.tobytes())
    return msg


def info_msg(size_hw, *, at=None, focal_px=300.0) -> CameraInfo:
    height, width = size_hw
    K = [focal_px, 0.0, width / 2, 0.0, focal_px, height / 2, 0.0, 0.0, 1.0]
    P = [*K[:3], 0.0, *K[3:6], 0.0, *K[6:], 0.0]
    return CameraInfo(header=at or Header(), height=height, width=width, k=K, p=P)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("big", [False, True])
def test_millimetres_and_metres_are_both_metres(padding, big):
    millimetres = np.array([[0, 1, 500], [1234, 65535, 2]])
    expected = np.array([[np.nan, 0.001, 0.5], [1.234, 65.535, 0.002]], np.float32)
    for encoding in ("16UC1", "mono16"):
        found = depth_m_from_msg(depth_msg(millimetres, encoding, padding=padding, big=big))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    metres = np.array([[np.nan, np.inf, 0.5], [-1.0, 0.0, 2.0]])
    found = depth_m_from_msg(depth_msg(metres, "32FC1", padding=2 * padding, big=big))
    np.testing.assert_array_equal(found, [[np.nan, np.nan, 0.5], [np.nan, np.nan, 2.0]])


def compressed(values: np.ndarray, encoding: str, a: float = 0.0, b: float = 0.0):
    png = cv2.imencode(".png", values.astype(np.uint16))[1].tobytes()
    data = struct.pack("<iff", 0, a, b) + png
    msg = CompressedImage(format=f"{encoding}; compressedDepth png")
    msg.data = array.array("B", data)
    return msg


def test_compressed_depth_of_both_kinds():
    values = np.array([[0, 500], [1000, 3]])
    found = depth_m_from_msg(compressed(values, "16UC1"))
    np.testing.assert_allclose(found, [[np.nan, 0.5], [1.0, 0.003]], rtol=1e-6)
    depth_m, a, b = np.array([[0.5, 1.0], [2.0, 4.0]]), 1000.0, -10.0
    found = depth_m_from_msg(compressed(np.round(a / depth_m + b), "32FC1", a, b))
    np.testing.assert_allclose(found, depth_m, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "rgb8"}, "expected the encoding 16UC1"),
        ({"width": 0}, "width and height"),
        ({"width": 20000}, "width and height"),
        ({"step": 5}, "expected 2 rows of at least 6 bytes"),
        ({"data": array.array("B", b"1234")}, "got a step of 6 and 4 bytes"),
    ],
)
def test_a_wrong_depth_image_is_refused_with_the_field(change, words):
    msg = depth_msg(np.ones((2, 3)), "16UC1")
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(TargetError, match=words):
        depth_m_from_msg(msg)


@pytest.mark.parametrize("data", [b"", b"short", bytes(12) + b"no png", bytes(12)])
def test_wrong_compressed_depth_is_refused(data):
    msg = compressed(np.ones((2, 2)), "16UC1")
    msg.data = array.array("B", data)
    with pytest.raises(TargetError, match="16-bit PNG"):
        depth_m_from_msg(msg)
    msg.format = "rgb8; jpeg compressed bgr8"
    with pytest.raises(TargetError, match="compressedDepth"):
        depth_m_from_msg(msg)


def test_intrinsics_of_rectified_and_other_images():
    msg = info_msg((240, 320))
    msg.d, msg.distortion_model = [0.1, 0.0, 0.0, 0.0, 0.0], "plumb_bob"
    msg.p[0], msg.p[5], msg.p[2] = 310.0, 311.0, 161.0
    rectified = intrinsics_from_msg(msg, (240, 320))
    assert (rectified.fx_px, rectified.fy_px, rectified.cx_px) == (310, 311, 161)
    assert rectified.distortion == ()
    other = intrinsics_from_msg(msg, (240, 320), is_rectified=False)
    assert (other.fx_px, other.distortion) == (300, (0.1, 0, 0, 0, 0))
    with pytest.raises(TargetError, match="expected 640x480 pixels like the image, got 320x240"):
        intrinsics_from_msg(msg, (480, 640))
    msg.distortion_model, msg.d = "equidistant", [0.1] * 4
    with pytest.raises(TargetError, match="distortion model"):
        intrinsics_from_msg(msg, (240, 320), is_rectified=False)
    with pytest.raises(TargetError, match="calibrated"):
        intrinsics_from_msg(CameraInfo(height=240, width=320), (240, 320))


def test_a_serialized_stamp_is_read_without_the_message():
    msg = depth_msg(np.ones((2, 3)), "32FC1", at=header(5 * SECOND + 7))
    assert stamp_of_bytes(serialize_message(msg)) == 5 * SECOND + 7


def put(images: DepthImages, ns: int, value: float, frame: str = "camera") -> None:
    msg = depth_msg(np.full((2, 3), value), "32FC1", at=header(ns, frame))
    images.put_depth(serialize_message(msg))


def test_the_nearest_depth_belongs_to_the_image_whenever_it_comes():
    images = DepthImages()
    for k in range(5):
        put(images, SECOND + k * 33_000_000, float(k + 1))
        images.put_info(info_msg((2, 3), at=header(SECOND + k * 33_000_000), focal_px=100.0 + k))
    watch = images.watch(header(SECOND + 70_000_000))
    frame = watch.match(0.05)
    assert depth_m_from_msg(frame.depth)[0, 0] == 3.0  # stamped 66 ms, 4 ms off
    assert frame.info.k[0] == 102.0
    put(images, SECOND + 70_000_000, 9.0)  # later than its image, but exact
    for k in range(20):  # many more pass by
        put(images, 2 * SECOND + k, 0.5)
    assert depth_m_from_msg(watch.match(0.05).depth)[0, 0] == 9.0


def test_depth_that_is_on_its_way_is_waited_for():
    images = DepthImages()
    put(images, SECOND, 1.0)
    images.put_info(info_msg((2, 3), at=header(SECOND)))
    watch = images.watch(header(SECOND + 100_000_000))
    timer = threading.Timer(0.1, lambda: put(images, SECOND + 100_000_000, 7.0))
    timer.start()
    assert depth_m_from_msg(watch.match(0.05).depth)[0, 0] == 7.0
    timer.join()


def test_where_depth_has_stopped_nobody_waits():
    images = DepthImages()
    put(images, SECOND, 1.0)
    images.put_info(info_msg((2, 3), at=header(SECOND)))
    images._arrived_s -= 10
    start_s = time.monotonic()
    with pytest.raises(TargetError, match=r"depth image within 0.05 s .* is 5.000 s off"):
        images.watch(header(6 * SECOND)).match(0.05)
    assert time.monotonic() - start_s < 0.4


@pytest.mark.parametrize(
    ("has_depth", "has_info", "stamp_ns", "frame", "words"),
    [
        (False, True, SECOND, "camera", "no depth image has come"),
        (True, False, SECOND, "camera", "no camera_info has come"),
        (True, True, 0, "camera", "got stamp 0"),
        (True, True, SECOND, "other", "expected depth in the image's frame 'other', got 'camera'"),
        (True, True, 9 * SECOND, "camera", "8.000 s off"),
    ],
)
def test_why_there_is_no_depth(has_depth, has_info, stamp_ns, frame, words):
    images = DepthImages()
    if has_depth:
        put(images, SECOND, 1.0)
    if has_info:
        images.put_info(info_msg((2, 3), at=header(SECOND)))
    with pytest.raises(TargetError, match=words):
        images.watch(header(stamp_ns, frame)).match(0.05)


def test_a_camera_info_without_a_stamp_holds_for_all_times():
    images = DepthImages()
    put(images, 50 * SECOND, 1.0)
    images.put_info(info_msg((2, 3)))
    assert images.watch(header(50 * SECOND)).match(0.05).info.k[0] == 300.0


def test_rotations_and_quaternions_go_around():
    rng = np.random.default_rng(0)
    for _ in range(200):
        R = rotation_of(*rng.normal(size=4))
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(rotation_of(*quaternion_of(R)), R, atol=1e-9)
    quarter = quaternion_of(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))  # 90 degrees about z
    np.testing.assert_allclose(quarter, [0, 0, np.sqrt(0.5), np.sqrt(0.5)], atol=1e-12)
    for half in (np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1])):
        np.testing.assert_allclose(rotation_of(*quaternion_of(half)), half, atol=1e-9)


def test_a_pose_goes_around_and_a_transform_is_read():
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation_of(0.1, -0.4, 0.3, 0.8), [1.0, -2.0, 3.0]
    np.testing.assert_allclose(matrix_of(pose_to_msg(T)), T, atol=1e-9)
    transform = Transform()
    transform.translation.x, transform.rotation.w = 4.0, 1.0
    np.testing.assert_allclose(matrix_of(transform)[:3, 3], [4, 0, 0])
    assert isinstance(pose_to_msg(T), Pose)


# From masks to messages.

SIZE_HW = (120, 160)


def tile(name: str, rows: slice, columns: slice, **more) -> Grounding:
    mask = np.zeros(SIZE_HW, bool)
    mask[rows, columns] = True
    zeros = np.zeros(SIZE_HW, np.float32)
    box = (columns.start, rows.start, columns.stop, rows.stop)
    return Grounding(name, mask, zeros, zeros, 0.9, box, **more)


def watch_of(depth_m: np.ndarray):
    images = DepthImages()
    images.put_depth(serialize_message(depth_msg(depth_m, "32FC1", at=header(SECOND))))
    images.put_info(info_msg(SIZE_HW, at=header(SECOND)))
    return images.watch(header(SECOND))


class FixedFrames:
    """Stands in for tf2: the camera looks down from 1 m above the origin of `base`."""

    T = np.array([[1.0, 0, 0, 0.5], [0, -1, 0, 0], [0, 0, -1, 1.0], [0, 0, 0, 1]])

    def matrix(self, target_frame, header, timeout_s):
        if target_frame != "base":
            raise TransformError(f"no transform to {target_frame!r}")
        assert header.frame_id == "camera"
        return self.T


def block_scene() -> np.ndarray:
    """A floor 1 m below; a block of 40 x 30 pixels whose top is 0.1 m higher."""
    depth_m = np.full(SIZE_HW, 1.0, np.float32)
    depth_m[40:70, 60:100] = 0.9
    return depth_m


BLOCK = tile("the block", slice(40, 70), slice(60, 100))


def test_a_block_has_a_target_in_the_frame_that_was_asked_for():
    settings = TargetSettings(TargetConfig(), 0.05, True, "base", 0.1)
    absent = tile("the mug", slice(0, 5), slice(0, 5), is_present=False)
    space = find_targets(
        [absent, BLOCK], header(SECOND), watch_of(block_scene()), FixedFrames(), settings
    )
    assert (space.code, space.text, space.header.frame_id) == ("OK", "", "base")
    assert main_target([absent, BLOCK], space) == 1
    msg = GroundedAnswer(objects=[GroundedObject(), GroundedObject()])
    target_messages.add_targets(msg, space)
    assert (msg.target_frame, msg.target_code) == ("base", GroundedAnswer.OK)
    assert msg.stages == ["locate"]
    assert not msg.objects[0].has_target
    found = target_from_msg(msg.objects[1], msg.target_frame)
    # Pixels 60..99 are 58.5 .. 100.5 px wide at 0.9 m and 300 px: -0.06 .. 0.06 m about column 80.
    np.testing.assert_allclose(found.position_m, [0.5 - 0.0015, 0.0165, 0.05], atol=0.002)
    np.testing.assert_allclose(sorted(found.size_m), [0.09, 0.1, 0.12], atol=0.003)
    np.testing.assert_allclose(found.T_frame_box[:3, 2], [0, 0, 1], atol=1e-3)
    assert found.is_upright
    np.testing.assert_allclose(found.centroid_m, [0.4985, 0.0165, 0.1], atol=1e-3)
    assert found.valid_depth_ratio == 1.0
    np.testing.assert_allclose(
        found.grasps[0].T_frame_grasp[:3, 2] if found.grasps else [0, 0, -1], [0, 0, -1], atol=1e-3
    )


def test_several_that_may_be_meant_are_no_target():
    ambiguous = tile("the block", slice(40, 70), slice(60, 100), is_ambiguous=True)
    space = find_targets(
        [ambiguous], header(SECOND), watch_of(block_scene()), FixedFrames(), SETTINGS
    )
    assert space.targets[0] is not None
    assert main_target([ambiguous], space) is None


def test_what_is_wrong_becomes_a_code_and_a_text():
    def answer(watch, settings=SETTINGS, objects=(BLOCK,)):
        space = find_targets(list(objects), header(SECOND), watch, FixedFrames(), settings)
        msg = GroundedAnswer(objects=[GroundedObject() for _ in objects])
        target_messages.add_targets(msg, space)
        return msg

    msg = answer(None)
    assert (msg.target_code, msg.target_frame) == (GroundedAnswer.NO_DEPTH, "camera")
    assert "switched off" in msg.target_text
    moon = TargetSettings(TargetConfig(), 0.05, True, "moon", 0.1)
    msg = answer(watch_of(block_scene()), moon)
    assert (msg.target_code, msg.target_frame) == (GroundedAnswer.TF_ERROR, "moon")
    assert not msg.objects[0].has_target
    blind = block_scene()
    blind[:, :110] = np.nan
    floor = tile("the floor", slice(80, 110), slice(120, 150))
    msg = answer(watch_of(blind), objects=(BLOCK, floor))
    assert msg.target_code == GroundedAnswer.NO_DEPTH
    assert "the block: expected at least 30 pixels of depth" in msg.target_text
    assert [o.has_target for o in msg.objects] == [False, True]


def test_without_tf2_the_error_says_what_to_install():
    if importlib.util.find_spec("tf2_ros") is not None:
        pytest.skip("tf2_ros is installed here")
    with pytest.raises(TransformError, match="install ros-"):
        Transforms(SimpleNamespace()).matrix("base", header(SECOND), 0.1)


class StandInTf2:
    """The part of tf2_ros that is used, with its names and argument order."""

    class TransformException(Exception):
        pass

    class Buffer:
        def lookup_transform(self, target_frame, source_frame, time, timeout):
            StandInTf2.asked = (target_frame, source_frame, time.nanoseconds, timeout.nanoseconds)
            if target_frame == "moon":
                raise StandInTf2.TransformException("moon is not connected")
            transform = Transform()
            transform.translation.z, transform.rotation.w = 2.0, 1.0
            return SimpleNamespace(transform=transform)

    class TransformListener:
        def __init__(self, buffer, node):
            self.is_open = True

        def unregister(self):
            self.is_open = False


def test_tf2_is_asked_at_the_stamp_of_the_image(monkeypatch):
    real_find, real_import = importlib.util.find_spec, importlib.import_module
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: "there" if n == "tf2_ros" else real_find(n)
    )
    monkeypatch.setattr(
        importlib, "import_module", lambda n: StandInTf2 if n == "tf2_ros" else real_import(n)
    )
    transforms = Transforms(SimpleNamespace())
    T = transforms.matrix("base", header(3 * SECOND + 5), 0.25)
    assert StandInTf2.asked == ("base", "camera", 3 * SECOND + 5, 250_000_000)
    np.testing.assert_allclose(T[:3, 3], [0, 0, 2])
    with pytest.raises(TransformError, match=r"'camera' to 'moon' .* moon is not connected"):
        transforms.matrix("moon", header(SECOND), 0.1)
    listener = transforms._listener
    transforms.close()
    assert not listener.is_open


def test_a_cloud_holds_points_and_colours_in_the_target_frame():
    points = np.array([[0.1, 0.2, 0.9], [0.0, 0.0, 1.0]], np.float32)
    colors = np.array([[255, 128, 1], [0, 0, 200]], np.uint8)
    msg = cloud_to_msg(points, colors, FixedFrames.T, header(SECOND, "base"))
    assert [(f.name, f.offset, f.datatype) for f in msg.fields] == [
        ("x", 0, 7),
        ("y", 4, 7),
        ("z", 8, 7),
        ("rgb", 12, 7),
    ]
    assert (msg.width, msg.height, msg.point_step, msg.row_step) == (2, 1, 16, 32)
    values = np.frombuffer(msg.data, "<f4").reshape(2, 4)
    np.testing.assert_allclose(values[:, :3], [[0.6, -0.2, 0.1], [0.5, 0, 0]], atol=1e-6)
    packed = np.frombuffer(msg.data, "<u4").reshape(2, 4)[:, 3]
    assert [hex(p) for p in packed] == ["0xff8001", "0xc8"]


def test_markers_show_the_box_the_phrase_and_the_grasp():
    space = find_targets([BLOCK], header(SECOND), watch_of(block_scene()), FixedFrames(), SETTINGS)
    markers = markers_to_msg(["the block"], space).markers
    assert markers[0].action == 3  # DELETEALL
    by_name = {m.ns: m for m in markers[1:]}
    scale = by_name["box"].scale
    np.testing.assert_allclose(
        sorted([scale.x, scale.y, scale.z]), sorted(space.targets[0].box.size_m)
    )
    assert by_name["phrase"].text == "the block"


def test_the_command_line_says_where_things_are():
    settings = TargetSettings(TargetConfig(), 0.05, True, "base", 0.1)
    space = find_targets([BLOCK], header(SECOND), watch_of(block_scene()), FixedFrames(), settings)
    msg = GroundedAnswer(answer="here", objects=[conversions.object_to_msg(BLOCK, 1)])
    msg.mask = conversions.image_to_msg(BLOCK.mask.astype(np.uint8), header(SECOND))
    target_messages.add_targets(msg, space)
    result = result_from_msg(msg)
    place = ask._as_text(result).splitlines()[3]
    assert place.startswith("    at (0.49")
    assert "m in base, 0.1" in place
    (found,) = json.loads(ask._as_json(result))["objects"]
    np.testing.assert_allclose(
        np.array(found["target"]["T_frame_box"])[:3, 3], result.objects[0].target.position_m
    )
    assert found["target"]["frame"] == "base"
    msg.objects[0].has_target = False
    assert json.loads(ask._as_json(result_from_msg(msg)))["objects"][0]["target"] is None


# Messages of others.


def stand_in(name: str, **defaults):
    """A message class of vision_msgs with its fields, which has no wheel."""

    def init(self, **given):
        unknown = set(given) - set(defaults)
        assert not unknown, f"{name} has no field {unknown}"
        for field, default in defaults.items():
            setattr(self, field, given.get(field, default()))

    return type(name, (), {"__init__": init})


def vision_kinds():
    """vision_msgs.msg where it is installed, otherwise its fields as its definitions list them."""
    if importlib.util.find_spec("vision_msgs") is not None:
        return importlib.import_module("vision_msgs.msg")
    point = stand_in("Point2D", x=float, y=float)
    pose = stand_in("Pose2D", position=point, theta=float)
    hypothesis = stand_in("ObjectHypothesis", class_id=str, score=float)
    covariance = stand_in("PoseWithCovariance", pose=Pose, covariance=list)
    return SimpleNamespace(
        BoundingBox2D=stand_in("BoundingBox2D", center=pose, size_x=float, size_y=float),
        BoundingBox3D=stand_in("BoundingBox3D", center=Pose, size=object),
        ObjectHypothesisWithPose=stand_in("WithPose", hypothesis=hypothesis, pose=covariance),
        Detection2D=stand_in("Detection2D", header=Header, results=list, bbox=object, id=str),
        Detection3D=stand_in("Detection3D", header=Header, results=list, bbox=object, id=str),
        Detection2DArray=stand_in("Detection2DArray", header=Header, detections=list),
        Detection3DArray=stand_in("Detection3DArray", header=Header, detections=list),
        VisionClass=stand_in("VisionClass", class_id=int, class_name=str),
        LabelInfo=stand_in("LabelInfo", header=Header, class_map=list, threshold=float),
    )


def test_an_answer_as_vision_msgs():
    answer = GroundedAnswer(header=header(SECOND), target_frame="base")
    mug = GroundedObject(phrase="the mug", score=0.75, is_present=True, label=2)
    mug.x_min_px, mug.y_min_px, mug.x_max_px, mug.y_max_px = 10, 20, 31, 60
    mug.has_target, mug.box_pose.position.x, mug.box_size_m.z = True, 0.5, 0.1
    flat = GroundedObject(phrase="the card", score=0.5, is_present=True, label=1)
    absent = GroundedObject(phrase="the duck", score=0.1)
    answer.objects = [flat, absent, mug]
    messages = VisionMessages(vision_kinds())
    boxes = messages.detections_2d(answer)
    assert boxes.header == answer.header
    assert [d.results[0].hypothesis.class_id for d in boxes.detections] == ["the card", "the mug"]
    second = boxes.detections[1]
    assert (second.bbox.center.position.x, second.bbox.center.position.y) == (20.5, 40.0)
    assert (second.bbox.size_x, second.bbox.size_y) == (21.0, 40.0)
    assert (second.id, second.results[0].hypothesis.score) == ("2", 0.75)
    solids = messages.detections_3d(answer)
    assert (solids.header.frame_id, solids.header.stamp.sec) == ("base", 1)
    (solid,) = solids.detections
    assert (solid.bbox.center.position.x, solid.bbox.size.z) == (0.5, 0.1)
    assert solid.results[0].pose.pose.position.x == 0.5
    labels = messages.labels(answer, 0.4)
    assert [(c.class_id, c.class_name) for c in labels.class_map] == [
        (1, "the card"),
        (2, "the mug"),
    ]
    assert labels.threshold == pytest.approx(0.4)


# Camera info: what the driver says of sensor, region and binning.

SENSOR = (480, 640)


def sensor_info(**more) -> CameraInfo:
    """K and P of a sensor of 640x480: 600 px, principal point (320, 240) in K, (322, 244) in P."""
    msg = info_msg(SENSOR, focal_px=600.0)
    msg.p[2], msg.p[6] = 322.0, 244.0
    for name, value in more.items():
        setattr(msg, name, value)
    return msg


def region(x, y, width, height) -> RegionOfInterest:
    return RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)


@pytest.mark.parametrize(
    ("fields", "size_hw", "expected"),
    [
        ({}, (480, 640), (600, 322, 244)),
        ({"binning_x": 1, "binning_y": 1, "roi": region(0, 0, 640, 480)}, SENSOR, (600, 322, 244)),
        ({"binning_x": 2, "binning_y": 2}, (240, 320), (300, 161, 122)),
        ({"roi": region(80, 100, 320, 240)}, (240, 320), (600, 242, 144)),
        (
            {"roi": region(80, 100, 320, 240), "binning_x": 2, "binning_y": 2},
            (120, 160),
            (300, 121, 72),
        ),
        ({"binning_x": 3, "binning_y": 3}, (160, 213), (200, 322 / 3, 244 / 3)),
        ({"width": 0, "height": 0, "roi": region(80, 100, 320, 240)}, (240, 320), (600, 242, 144)),
    ],
)
def test_what_was_cut_or_binned_moves_the_principal_point(fields, size_hw, expected):
    camera = intrinsics_from_msg(sensor_info(**fields), size_hw)
    np.testing.assert_allclose((camera.fx_px, camera.cx_px, camera.cy_px), expected)
    camera = intrinsics_from_msg(sensor_info(**fields), size_hw, is_rectified=False)
    scale = expected[0] / 600
    np.testing.assert_allclose(
        (camera.cx_px, camera.cy_px), (expected[1] - 2 * scale, expected[2] - 4 * scale)
    )


@pytest.mark.parametrize(
    ("fields", "size_hw", "words"),
    [
        ({"binning_x": 2, "binning_y": 2}, SENSOR, "binning 2x2 .* which make 320x240"),
        ({"roi": region(80, 100, 640, 480)}, SENSOR, r"region of 640x480 pixels at \(80, 100\)"),
        ({"roi": region(80, 100, 320, 240)}, SENSOR, "contradict each other"),
        ({"roi": region(80, 100, 0, 0)}, SENSOR, "contradict each other"),
        ({}, (240, 320), "expected 320x240 pixels like the image, got 640x480"),
    ],
)
def test_sizes_that_contradict_each_other_are_named(fields, size_hw, words):
    with pytest.raises(TargetError, match=words):
        intrinsics_from_msg(sensor_info(**fields), size_hw)


def test_an_empty_matrix_is_replaced_by_the_other():
    camera = intrinsics_from_msg(sensor_info(k=[0.0] * 9), SENSOR, is_rectified=False)
    assert (camera.fx_px, camera.cx_px) == (600, 322)
    camera = intrinsics_from_msg(sensor_info(p=[0.0] * 12), SENSOR)
    assert (camera.fx_px, camera.cx_px) == (600, 320)


@pytest.mark.parametrize(
    ("choice", "topic", "rectified"),
    [
        ("auto", "/camera/color/image_raw", False),
        ("auto", "/robot/image", False),
        ("auto", "/left/image_rect_color", True),
        ("on", "/camera/color/image_raw", True),
        ("off", "/left/image_rect", False),
    ],
)
def test_the_topic_says_whether_its_images_are_rectified(choice, topic, rectified):
    assert is_rectified(choice, topic) is rectified


def distorted(points_m: np.ndarray, d: list[float]) -> np.ndarray:
    """Pixels [P, 2] of points in a camera of 150 px with this distortion."""
    K = np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]])
    return cv2.projectPoints(points_m, np.zeros(3), np.zeros(3), K, np.array(d))[0].reshape(-1, 2)


def test_points_of_a_raw_image_are_undistorted():
    """A block far from the middle of a wide lens: without d its place is wrong by centimetres."""
    d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    corners = np.array([[-0.35, -0.25, 0.9], [-0.25, -0.15, 0.9]])
    (left, top), (right, bottom) = np.round(distorted(corners, d)).astype(int)
    block = tile("the block", slice(top, bottom), slice(left, right))
    depth_m = np.full(SIZE_HW, 1.0, np.float32)
    depth_m[top:bottom, left:right] = 0.9
    images = DepthImages()
    images.put_depth(serialize_message(depth_msg(depth_m, "32FC1", at=header(SECOND))))
    info = info_msg(SIZE_HW, at=header(SECOND), focal_px=150.0)
    info.d, info.distortion_model = d, "plumb_bob"
    images.put_info(info)

    def middle(rectified: bool) -> np.ndarray:
        settings = TargetSettings(TargetConfig(), 0.05, rectified, "", 0.1)
        watch = images.watch(header(SECOND))
        (target,) = find_targets([block], header(SECOND), watch, FixedFrames(), settings).targets
        return target.centroid_m[:2]

    straight = [np.linalg.norm(middle(is_on) - [-0.3, -0.2]) for is_on in (False, True)]
    assert straight[0] < 0.006 < 0.012 < straight[1]


@pytest.mark.parametrize(
    ("values", "encoding", "words"),
    [
        (block_scene() * 1000, "32FC1", "in 32FC1, got a median of 1000: is it in milli"),
        (np.round(block_scene()), "16UC1", "in 16UC1, got a median of 1: is it in metres"),
        (block_scene() * 10_000, "16UC1", r"the median depth is 10.0 m, .* so is the unit"),
    ],
)
def test_depth_in_the_wrong_unit_is_suspected_aloud(values, encoding, words):
    images = DepthImages()
    images.put_depth(serialize_message(depth_msg(values, encoding, at=header(SECOND))))
    images.put_info(info_msg(SIZE_HW, at=header(SECOND)))
    watch = images.watch(header(SECOND))
    space = find_targets([BLOCK], header(SECOND), watch, FixedFrames(), SETTINGS)
    assert space.code == "NO_DEPTH"
    assert space.targets == (None,)
    assert re.search(words, space.text), space.text


def test_of_unstamped_camera_infos_the_newest_holds_and_a_stamped_one_wins():
    images = DepthImages()
    put(images, SECOND, 1.0)
    images.put_info(info_msg((2, 3), focal_px=100.0))
    images.put_info(info_msg((2, 3), focal_px=200.0))
    images.put_info(info_msg((2, 3), at=header(SECOND - 40_000_000), focal_px=300.0))
    watch = images.watch(header(SECOND))
    assert watch.match(0.05).info.k[0] == 200.0
    images.put_info(info_msg((2, 3), focal_px=400.0))
    assert watch.match(0.05).info.k[0] == 400.0
    images.put_info(info_msg((2, 3), at=header(SECOND), focal_px=500.0))
    images.put_info(info_msg((2, 3), focal_px=600.0))
    assert watch.match(0.05).info.k[0] == 500.0
    assert images.watch(header(SECOND)).match(0.05).info.k[0] == 500.0


@pytest.mark.parametrize("has_publisher", [True, False])
def test_the_first_depth_is_waited_for_where_somebody_publishes_it(has_publisher):
    images = DepthImages()
    images.connect(DepthSource(has_publisher=lambda: has_publisher))
    images.put_info(info_msg((2, 3), at=header(SECOND)))
    watch = images.watch(header(SECOND))
    timer = threading.Timer(0.1, lambda: put(images, SECOND, 7.0))
    timer.start()
    start_s = time.monotonic()
    try:
        if has_publisher:
            assert depth_m_from_msg(watch.match(0.05).depth)[0, 0] == 7.0
        else:
            with pytest.raises(TargetError, match="no depth image has come"):
                watch.match(0.05)
            assert time.monotonic() - start_s < 0.09
    finally:
        timer.join()


def test_what_waits_in_the_middleware_is_fetched_for_a_watch_only():
    images, fetched = DepthImages(), []

    def fetch() -> None:
        fetched.append(1)
        put(images, SECOND, 3.0)
        images.put_info(info_msg((2, 3), at=header(SECOND)))

    images.connect(DepthSource(fetch=fetch))
    assert not images.is_wanted()
    assert fetched == []
    watch = images.watch(header(SECOND + 5_000_000))
    assert images.is_wanted()  # a nearer one may still come
    put(images, SECOND + 33_000_000, 4.0)
    assert not images.is_wanted()
    assert depth_m_from_msg(watch.match(0.05).depth)[0, 0] == 3.0


def test_a_crop_around_the_objects_finds_the_same_places():
    whole, cropped = (
        find_targets(
            [BLOCK],
            header(SECOND),
            watch_of(block_scene()),
            FixedFrames(),
            TargetSettings(TargetConfig(grasps=False), 0.05, True, "base", 0.1, crop_side_px=side),
        )
        for side in (0, 40)
    )
    assert cropped.image.depth_m.size < whole.image.depth_m.size / 2
    for a, b in zip(whole.targets, cropped.targets, strict=True):
        np.testing.assert_allclose(a.centroid_m, b.centroid_m, atol=0.004)
        np.testing.assert_allclose(a.box.T_camera_box[:3, 3], b.box.T_camera_box[:3, 3], atol=0.005)
        np.testing.assert_allclose(sorted(a.box.size_m), sorted(b.box.size_m), atol=0.01)
