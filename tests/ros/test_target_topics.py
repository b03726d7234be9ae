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

"""Depth goes in, places in the world come out, and objects are held between commands: the running
node over DDS, against the simulator's truth."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseArray, PoseStamped
from harness import START_S, Robot, wait_until
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float32, Header
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from flmm_ros.engine.masks.mask import iou
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client.client import result_from_msg
from flmm_ros.ros.depth.depth_images import stamp_ns
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.messages.poses import matrix_of
from flmm_sim.nodes.camera_node import depth_to_msg, info_to_msg
from flmm_sim.tabletop.tabletop import Tabletop, TabletopScene

SEED = 1_000_001
AGAIN_S = 3.0
NAME = "orange cylinder"
TOPICS: dict[str, Any] = {
    "target/pose": PoseStamped,
    "target/points": PointCloud2,
    "target/grasps": PoseArray,
    "target/grasp": PoseStamped,
    "target/grasp_width": Float32,
    "scene/points_without_target": PointCloud2,
    "markers": MarkerArray,
    "held": GroundedAnswer,
}


class Depth:
    """A robot with a depth camera, that hears everything about targets."""

    def __init__(self, robot: Robot) -> None:
        self.robot = robot
        node = robot.node
        self.depth = node.create_publisher(Image, "depth", 5)
        self.info = node.create_publisher(CameraInfo, "camera_info", 5)
        self.heard: dict[str, list[Any]] = {name: [] for name in TOPICS}
        for name, kind in TOPICS.items():
            store = self.heard[name].append
            node.create_subscription(kind, f"grounding_node/{name}", store, 100)
        self.hold = node.create_client(SetBool, "grounding_node/hold")

    def show(
        self, scene: TabletopScene, *, depth: Image | None = None, wait: bool = True
    ) -> Header:
        """Image, depth and camera_info of one moment."""
        header = self.robot.header()
        msg = depth or depth_to_msg(scene.depth_m, header)
        msg.header = header
        wait_until(self.depth.get_subscription_count, START_S, "the node's depth subscription")
        self.info.publish(info_to_msg(scene.K, scene.labels.shape, header))
        self.depth.publish(msg)
        image = conversions.image_to_msg(scene.rgb, header)
        self.robot.publish(image) if wait else self.robot.camera.publish(image)
        return header

    def last(self, name: str, header: Header) -> Any:
        """The message of a topic with this stamp."""

        def found() -> Any:
            kept = self.heard[name]
            return next((m for m in reversed(kept) if stamp_ns(m.header) == stamp_ns(header)), None)

        return wait_until(found, START_S, name)


@pytest.fixture(scope="module")
def eyes(start: Callable[..., Any]) -> Depth:
    _, robot = start(autostart=True)
    robot.wait_for_state("active")
    return Depth(robot)


@pytest.fixture(scope="module")
def scene(table: Tabletop) -> TabletopScene:
    return table.render(SEED)


def truth(scene: TabletopScene, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The mask of an object, and the mean of its visible points in the world, in metres."""
    mask = scene.mask(scene.find(name))
    rows, columns = np.nonzero(mask)
    rays = np.linalg.inv(scene.K) @ np.stack([columns, rows, np.ones_like(rows)])
    points = (rays * scene.depth_m[mask]).T
    return mask, in_world(scene, points.mean(axis=0))


def in_world(scene: TabletopScene, point_m: np.ndarray) -> np.ndarray:
    return scene.T_world_camera[:3, :3] @ point_m + scene.T_world_camera[:3, 3]


def cloud(msg: PointCloud2) -> np.ndarray:
    return np.frombuffer(msg.data, "<f4").reshape(-1, 4)


def test_an_object_has_its_place_in_the_world(eyes: Depth, scene: TabletopScene) -> None:
    header = eyes.show(scene)
    answer = eyes.robot.say(f"the {NAME}")
    assert answer.header == header
    assert (answer.target_code, answer.target_text) == (GroundedAnswer.OK, "")
    assert answer.target_frame == header.frame_id
    assert answer.stages[-1] == "locate"
    (found,) = result_from_msg(answer).objects
    mask, centroid_m = truth(scene, NAME)
    assert iou(found.mask, mask) > 0.75
    target = found.target
    assert np.abs(in_world(scene, target.centroid_m) - centroid_m).max() < 0.006
    obj = scene.find(NAME)
    middle = in_world(scene, target.position_m)
    assert np.abs(middle[:2] - obj.position_m[:2]).max() < 0.006
    up = scene.T_world_camera[:3, :3] @ target.T_frame_box[:3, 2]
    assert target.is_upright
    assert up[2] > 0.9999
    assert middle[2] - target.size_m[2] / 2 == pytest.approx(0, abs=0.002)  # down to the table
    assert target.valid_depth_ratio > 0.9


def test_the_target_stands_on_its_topics(eyes: Depth, scene: TabletopScene) -> None:
    header = eyes.show(scene)
    answer = eyes.robot.say(f"pick up the {NAME}")
    (found,) = result_from_msg(answer).objects
    pose = eyes.last("target/pose", header)
    assert pose.header == header
    np.testing.assert_allclose(matrix_of(pose.pose), found.target.T_frame_box, atol=1e-9)
    grasps = eyes.last("target/grasps", header)
    assert len(grasps.poses) == len(found.target.grasps) > 0
    best = found.target.grasps[0]
    np.testing.assert_allclose(
        matrix_of(eyes.last("target/grasp", header).pose), best.T_frame_grasp, atol=1e-9
    )
    width = wait_until(lambda: eyes.heard["target/grasp_width"], START_S, "width")[-1]
    assert width.data == pytest.approx(best.width_m)
    assert 0.04 < best.width_m < 0.075
    approach = scene.T_world_camera[:3, :3] @ best.T_frame_grasp[:3, 2]
    assert approach[2] < -0.99  # from above
    place = in_world(scene, best.T_frame_grasp[:3, 3])
    assert np.abs(place[:2] - scene.find(NAME).position_m[:2]).max() < 0.01

    points = cloud(eyes.last("target/points", header))
    assert np.abs(points[:, :3].mean(axis=0) - found.target.centroid_m).max() < 1e-4
    assert len(points) == round(found.target.valid_depth_ratio * found.mask.sum())
    rgb = points[:, 3].view("<u4")
    assert (rgb >> 16 & 255).mean() > (rgb & 255).mean() + 60  # orange: more red than blue
    rest = cloud(eyes.last("scene/points_without_target", header))
    assert 0 < len(rest) < scene.depth_m.size - found.mask.sum()
    distance = np.linalg.norm(rest[:, :3] - found.target.position_m, axis=1)
    world = rest[:, :3] @ scene.T_world_camera[:3, :3].T + scene.T_world_camera[:3, 3]
    assert not ((distance < 0.04) & (world[:, 2] > 0.02)).any()
    markers = wait_until(lambda: eyes.heard["markers"], START_S, "markers")[-1].markers
    assert {m.ns for m in markers[1:]} == {"box", "phrase", "grasp"}


def test_millimetres_do_as_well(eyes: Depth, scene: TabletopScene) -> None:
    depth = conversions.image_to_msg(np.round(scene.depth_m * 1000).astype(np.uint16), Header())
    depth.encoding = "16UC1"
    eyes.show(scene, depth=depth)
    (found,) = result_from_msg(eyes.robot.say(f"the {NAME}")).objects
    assert np.abs(in_world(scene, found.target.centroid_m) - truth(scene, NAME)[1]).max() < 0.006


def test_without_depth_the_masks_come_all_the_same(eyes: Depth, scene: TabletopScene) -> None:
    eyes.robot.show(scene.rgb)
    answer = eyes.robot.say(f"the {NAME}")
    assert (answer.error_code, answer.target_code) == (GroundedAnswer.OK, GroundedAnswer.NO_DEPTH)
    assert "depth_tolerance" in answer.target_text
    assert iou(result_from_msg(answer).objects[0].mask, truth(scene, NAME)[0]) > 0.75
    assert not answer.objects[0].has_target
    time.sleep(0.5)  # targets come after the answer; those of the test before may still do
    stamps = [stamp_ns(pose.header) for pose in eyes.heard["target/pose"]]
    assert stamp_ns(answer.header) not in stamps


def test_a_wrong_depth_image_and_an_unknown_frame_are_said(
    eyes: Depth, scene: TabletopScene
) -> None:
    small = depth_to_msg(scene.depth_m[::2, ::2], Header())
    eyes.show(scene, depth=small)
    answer = eyes.robot.say(f"the {NAME}")
    assert answer.target_code == GroundedAnswer.NO_DEPTH
    assert "expected 320x240 pixels like the image, got 160x120" in answer.target_text
    assert eyes.robot.set(target_frame="base_link", tf_timeout=0.05) == []
    try:
        eyes.show(scene)
        answer = eyes.robot.say(f"the {NAME}")
    finally:
        eyes.robot.set(target_frame="")
    assert answer.error_code == GroundedAnswer.OK
    assert answer.target_code == GroundedAnswer.TF_ERROR
    assert (answer.target_frame, answer.objects[0].has_target) == ("base_link", False)


def held_for(eyes: Depth, scene: TabletopScene) -> GroundedAnswer:
    """What is held in this image, shown again and again as a camera does: nobody promises that
    one image in particular arrives."""
    shown: set[int] = set()
    next_s = 0.0

    def found() -> GroundedAnswer | None:
        nonlocal next_s
        if time.monotonic() > next_s:
            shown.add(stamp_ns(eyes.show(scene, wait=False)))
            next_s = time.monotonic() + AGAIN_S
        return next((m for m in reversed(eyes.heard["held"]) if stamp_ns(m.header) in shown), None)

    return wait_until(found, START_S, "held")


def follow(eyes: Depth, table: Tabletop, turns_deg: list[float]) -> list[tuple[float, Any]]:
    """IoU with the truth, and the held object, for the camera going around the table."""
    found = []
    for turn_deg in turns_deg:
        scene = table.render(SEED, turn_deg=turn_deg)
        (held,) = held_for(eyes, scene).objects
        mask = conversions.mask_from_runs(held.mask_runs, scene.labels.shape)
        found.append((iou(mask, scene.mask(scene.find(NAME))), held))
    return found


def test_an_object_is_held_while_the_camera_moves(eyes: Depth, table: Tabletop) -> None:
    assert eyes.robot.set(hold="on", hold_period=0.0) == []
    eyes.show(table.render(SEED))
    first = eyes.robot.say(f"the {NAME}")
    steps = follow(eyes, table, [1.5 * k for k in range(1, 11)])
    assert min(overlap for overlap, _ in steps) > 0.75
    assert np.mean([overlap for overlap, _ in steps]) > 0.85
    numbers = {held.track_id for _, held in steps}
    assert len(numbers) == 1
    assert numbers != {0}
    assert min(held.track_confidence for _, held in steps) > 0.6
    place = table.render(SEED, turn_deg=15.0)

    def with_place() -> Any:  # on a busy machine depth comes too late for some images
        (held,) = held_for(eyes, place).objects
        return held if held.has_target else None

    at = matrix_of(wait_until(with_place, START_S, "a held target").box_pose)[:3, 3]
    assert np.abs(in_world(place, at)[:2] - place.find(NAME).position_m[:2]).max() < 0.01
    assert first.objects[0].track_id == 0


def test_a_lost_object_is_found_again(eyes: Depth, table: Tabletop) -> None:
    """Something covers the lens; then the scene is back, from elsewhere."""
    scene = table.render(SEED)
    dark = TabletopScene(**{**vars(scene), "rgb": np.full_like(scene.rgb, 40)})
    (lost,) = held_for(eyes, dark).objects
    assert (lost.is_present, lost.track_confidence, lost.label) == (False, 0.0, 0)
    back = table.render(SEED, turn_deg=-8.0)

    def is_found() -> bool:
        (held,) = held_for(eyes, back).objects
        mask = conversions.mask_from_runs(held.mask_runs, back.labels.shape)
        return held.track_confidence > 0.6 and iou(mask, back.mask(back.find(NAME))) > 0.75

    answers = len(eyes.robot.seen.grounding)
    wait_until(is_found, START_S, "the object again")
    assert len(eyes.robot.seen.grounding) == answers  # nobody asked, nobody is answered


def test_the_service_lets_go_and_takes_hold(eyes: Depth, scene: TabletopScene) -> None:
    robot = eyes.robot
    assert robot.set(hold="off") == []
    assert robot.call(eyes.hold, SetBool.Request(data=False)).success
    time.sleep(0.6)
    before = len(eyes.heard["held"])
    eyes.show(scene)
    time.sleep(0.5)
    assert len(eyes.heard["held"]) == before
    eyes.robot.say(f"the {NAME}")
    reply = robot.call(eyes.hold, SetBool.Request(data=True))
    assert (reply.success, reply.message) == (True, f"holding the objects of 'the {NAME}'")
    (held,) = held_for(eyes, scene).objects
    assert held.track_confidence > 0.6
    robot.call(eyes.hold, SetBool.Request(data=False))


def test_there_is_nothing_to_hold_before_the_first_answer(eyes: Depth) -> None:
    robot = eyes.robot
    assert robot.change("deactivate")
    reply = robot.call(eyes.hold, SetBool.Request(data=True))
    assert not reply.success
    assert "expected an answer" in reply.message
    assert robot.change("activate")
