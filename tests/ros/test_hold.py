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

"""What is held, when it is grounded again, and by which number: the follower on drawn images, with
a worker of the test's own."""

import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from harness import wait_until
from std_msgs.msg import Header

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.masks.mask import iou, tight_box
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answering import Reply
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.hold.frame_history import KEPT, FrameHistory, PassedFrame
from flmm_ros.ros.hold.object_follower import FollowerLinks, HoldSettings, ObjectFollower
from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.targets.target_finding import Locator, TargetSettings, find_targets

SETTINGS = TargetSettings(TargetConfig(grasps=False), 0.05, True, "", 0.1)


def header(k: int) -> Header:
    msg = Header(frame_id="camera")
    msg.stamp.sec = 100 + k
    return msg


def draw(*centers: tuple[int, int] | None) -> tuple[np.ndarray, list[np.ndarray]]:
    """Discs, red and green and blue, on a grey ground with grain."""
    rng = np.random.default_rng(1)
    picture = np.clip(rng.normal(140, 8, (200, 300, 3)), 0, 255).astype(np.uint8)
    masks = []
    for number, center in enumerate(centers):
        mask = np.zeros((200, 300), np.uint8)
        if center is not None:
            cv2.circle(mask, center, 24, 1, -1)
            picture[mask > 0] = 40
            picture[mask > 0, number] = 210
            cv2.line(picture, center, (center[0] + 15, center[1] + 9), (20, 20, 20), 3)
        masks.append(mask > 0)
    return picture, masks


def grounding(phrase: str, mask: np.ndarray, **more) -> Grounding:
    flat = mask.astype(np.float32)
    return Grounding(phrase, mask, flat, flat, 0.9, tight_box(mask), **more)


def reply_about(k: int, picture: np.ndarray, *objects: Grounding) -> Reply:
    msg = GroundedAnswer(
        header=header(k), command_id="topic-1", command="the discs", intent="ground", answer="here"
    )
    return Reply(msg, picture, objects)


class World:
    """Camera, worker and ear of one follower."""

    def __init__(self) -> None:
        self.newest, self.published, self.asked = NewestImage(), [], []
        self.is_idle, self.settings = True, HoldSettings(period_s=0.0, lost_below=0.35)
        self.is_heard, self.located = True, 0
        self.follower = ObjectFollower(
            FollowerLinks(
                newest=lambda camera: self.newest,
                locator=lambda camera: Locator(
                    lambda header: None,
                    self.find,
                ),
                ground=self.ground,
                publish=self.published.append,
                settings=lambda: self.settings,
                is_heard=lambda: self.is_heard,
            )
        )

    def find(self, objects, header, watch):
        self.located += 1
        return find_targets(objects, header, watch, None, SETTINGS)

    def ground(self, command: Command) -> bool:
        if self.is_idle:
            self.asked.append(command)
        return self.is_idle

    def show(self, k: int, picture: np.ndarray) -> GroundedAnswer:
        """One image; returns what is held in it."""
        self.newest.put(conversions.image_to_msg(picture, header(k)))
        return wait_until(
            lambda: next((m for m in self.published if m.header == header(k)), None), 60, "held"
        )


@pytest.fixture
def world() -> Iterator[World]:
    it = World()
    yield it
    it.follower.close(5.0)


def masks_of(msg: GroundedAnswer) -> list[np.ndarray]:
    return [conversions.mask_from_runs(o.mask_runs, (200, 300)) for o in msg.objects]


def start(world: World, *names: str) -> Callable[..., GroundedAnswer]:
    picture, masks = draw((60, 60), (200, 120))
    objects = [grounding(name, mask) for name, mask in zip(names, masks, strict=False)]
    world.follower.start(Command("topic-1", "the discs"), reply_about(0, picture, *objects))
    return world.show


def test_held_objects_are_an_answer_about_every_image(world):
    show = start(world, "the red disc", "the green disc")
    for k in range(1, 6):
        picture, masks = draw((60 + 8 * k, 60), (200, 120 - 5 * k))
        msg = show(k, picture)
        assert (msg.command_id, msg.command, msg.answer) == ("topic-1", "the discs", "here")
        assert [o.phrase for o in msg.objects] == ["the red disc", "the green disc"]
        assert [o.track_id for o in msg.objects] == [1, 2]
        assert min(o.track_confidence for o in msg.objects) > 0.6
        for found, mask in zip(masks_of(msg), masks, strict=True):
            assert iou(found, mask) > 0.85
        assert msg.target_code == GroundedAnswer.NO_DEPTH
        labels = np.frombuffer(msg.mask.data, np.uint8).reshape(200, 300)
        assert set(np.unique(labels)) == {0, 1, 2}
    assert world.asked == []  # nothing is lost, and there is no period


def test_absent_objects_are_not_held_and_an_answer_without_any_lets_go(world):
    picture, masks = draw((60, 60), (200, 120))
    absent = grounding("the duck", masks[1], is_present=False)
    world.follower.start(
        Command("topic-1", "x"), reply_about(0, picture, absent, grounding("the disc", masks[0]))
    )
    assert [o.phrase for o in world.show(1, picture).objects] == ["the disc"]
    world.follower.start(Command("topic-2", "y"), reply_about(1, picture, absent))
    time.sleep(0.7)
    before = len(world.published)
    world.newest.put(conversions.image_to_msg(picture, header(2)))
    time.sleep(0.7)
    assert len(world.published) == before


def test_a_lost_object_is_grounded_again_when_nobody_else_asks(world):
    show = start(world, "the red disc", "the green disc")
    world.is_idle = False
    gone, _ = draw(None, (200, 120))
    for k in range(1, 4):
        msg = show(k, gone)
    assert [o.is_present for o in msg.objects] == [False, True]
    assert msg.objects[0].track_confidence == 0.0
    assert world.asked == []
    world.is_idle = True
    time.sleep(1.1)  # it has just been refused
    show(4, gone)
    (command,) = wait_until(lambda: world.asked, 10, "a command")
    assert (command.text, command.intent) == ("the red disc and the green disc", "ground")
    assert command.is_own
    show(5, gone)  # while that runs nothing more is asked for
    assert len(world.asked) == 1
    back, masks = draw((100, 140), (200, 120))
    found = [
        grounding(n, m) for n, m in zip(("the red disc", "the green disc"), masks, strict=True)
    ]
    show(6, back)
    world.follower.grounded(command, reply_about(6, back, *found))
    msg = show(7, back)
    assert iou(masks_of(msg)[0], masks[0]) > 0.85
    # The green disc has never been away; the red one is somewhere else, and may be another.
    assert [o.track_id for o in msg.objects] == [3, 2]


def test_new_masks_catch_up_with_what_has_moved_meanwhile(world):
    show = start(world, "the red disc")
    world.settings = HoldSettings(period_s=0.2, lost_below=0.35)
    picture, masks = draw((60, 60), (200, 120))
    time.sleep(0.3)
    show(1, picture)
    command = wait_until(lambda: world.asked, 10, "a command")[0]
    show(2, picture)  # the image that is grounded
    for k in range(3, 11):
        moved, truth = draw((60 + 12 * (k - 2), 60), (200, 120))
        show(k, moved)
    world.follower.grounded(command, reply_about(2, picture, grounding("the red disc", masks[0])))
    last, truth = draw((60 + 12 * 9, 60), (200, 120))
    msg = show(11, last)
    assert iou(masks_of(msg)[0], truth[0]) > 0.85
    assert msg.objects[0].track_id == 1


def test_a_new_answer_takes_the_place_of_what_is_being_grounded(world):
    show = start(world, "the red disc")
    world.settings = HoldSettings(period_s=0.2, lost_below=0.35)
    picture, masks = draw((60, 60), (200, 120))
    time.sleep(0.3)
    show(1, picture)
    old = wait_until(lambda: world.asked, 10, "a command")[0]
    world.settings = HoldSettings(period_s=0.0, lost_below=0.35)
    world.follower.start(
        Command("topic-2", "the green disc"),
        reply_about(1, picture, grounding("the green disc", masks[1])),
    )
    world.follower.grounded(old, reply_about(1, picture, grounding("the red disc", masks[0])))
    assert [o.phrase for o in show(2, picture).objects] == ["the green disc"]


def test_a_failed_grounding_keeps_what_there_is(world):
    show = start(world, "the red disc")
    world.settings = HoldSettings(period_s=0.2, lost_below=0.35)
    picture, masks = draw((60, 60), (200, 120))
    time.sleep(0.3)
    show(1, picture)
    command = wait_until(lambda: world.asked, 10, "a command")[0]
    world.follower.grounded(command, RuntimeError("no"))
    msg = show(2, picture)
    assert iou(masks_of(msg)[0], masks[0]) > 0.85
    assert msg.objects[0].track_id == 1


def show_msg(world: World, msg) -> GroundedAnswer:
    """Any image message; returns what is held in it."""
    world.newest.put(msg)
    return wait_until(
        lambda: next((m for m in world.published if m.header == msg.header), None), 60, "held"
    )


def broken(k: int, how: str):
    """An image that a camera should not have sent."""
    picture = draw((60, 60), (200, 120))[0]
    msg = conversions.image_to_msg(picture, header(k))
    if how == "cut short":
        msg.data = msg.data[: len(msg.data) // 2]
    elif how == "encoding":
        msg.encoding = "jpeg"
    elif how == "empty":
        msg.width = msg.height = msg.step = 0
        msg.data = msg.data[:0]
    else:
        msg = conversions.image_to_msg(picture[::2, ::2].copy(), header(k))
    return msg


@pytest.mark.parametrize("how", ["cut short", "encoding", "empty", "half the size"])
def test_one_image_that_cannot_be_used_is_said_and_skipped(world, how):
    show = start(world, "the red disc", "the green disc")
    show(1, draw((60, 60), (200, 120))[0])
    msg = show_msg(world, broken(2, how))
    assert msg.error_code == GroundedAnswer.BAD_IMAGE
    assert "expected" in msg.error_text
    assert [(o.is_present, o.track_confidence, o.track_id) for o in msg.objects] == [
        (False, 0.0, 1),
        (False, 0.0, 2),
    ]
    assert (world.follower.status.lost, world.follower.status.trouble) == (2, msg.error_text)
    picture, masks = draw((66, 60), (200, 120))
    msg = show(3, picture)
    assert msg.error_code == GroundedAnswer.OK
    assert [o.track_id for o in msg.objects] == [1, 2]
    assert iou(masks_of(msg)[0], masks[0]) > 0.85
    assert (world.follower.status.lost, world.follower.status.trouble) == (0, "")
    assert world.asked == []


def test_a_lasting_change_of_resolution_grounds_anew_and_keeps_the_numbers(world):
    show = start(world, "the red disc", "the green disc")
    picture, masks = draw((60, 60), (200, 120))
    show(1, picture)
    large = cv2.resize(picture, (600, 400), interpolation=cv2.INTER_NEAREST)
    codes = [show(k, large).error_code for k in range(2, 6)]
    assert codes[:2] == [GroundedAnswer.BAD_IMAGE] * 2
    (command,) = wait_until(lambda: world.asked, 10, "a command")
    assert command.text == "the red disc and the green disc"
    assert "expected 300x200 pixels" in world.follower.status.trouble
    msg = show(6, large)
    assert (msg.mask.width, msg.mask.height) == (600, 400)
    assert [o.is_present for o in msg.objects] == [False, False]
    grown = [cv2.resize(m.astype(np.uint8), (600, 400)) > 0 for m in masks]
    found = [
        grounding(n, m) for n, m in zip(("the red disc", "the green disc"), grown, strict=True)
    ]
    world.follower.grounded(command, reply_about(6, large, *found))
    msg = show(7, large)
    assert [(o.is_present, o.track_id) for o in msg.objects] == [(True, 1), (True, 2)]
    got = conversions.mask_from_runs(msg.objects[0].mask_runs, (400, 600))
    assert iou(got, grown[0]) > 0.85


def test_what_nobody_hears_is_neither_followed_nor_located_nor_grounded(world):
    show = start(world, "the red disc")
    world.settings = HoldSettings(period_s=0.2, lost_below=0.35)
    picture, masks = draw((60, 60), (200, 120))
    show(1, picture)
    before = (world.located, len(world.published), len(world.asked))
    world.is_heard = False
    wait_until(lambda: not world.follower.status.is_heard, 10, "rest")
    for k in range(2, 12):
        world.newest.put(conversions.image_to_msg(picture, header(k)))
        time.sleep(0.15)
    assert (world.located, len(world.published), len(world.asked)) == before
    world.is_heard = True  # after more than a second: who knows where the disc is now
    msg = show(20, draw((150, 60), (200, 120))[0])
    assert not msg.objects[0].is_present
    (command,) = wait_until(lambda: world.asked, 10, "a command")
    moved, masks = draw((150, 60), (200, 120))
    world.follower.grounded(command, reply_about(20, moved, grounding("the red disc", masks[0])))
    msg = show(21, moved)
    assert iou(masks_of(msg)[0], masks[0]) > 0.85


def test_targets_of_held_objects_are_found_a_few_times_a_second(world):
    show = start(world, "the red disc")
    picture, _ = draw((60, 60), (200, 120))
    begin_s = time.monotonic()
    messages = [show(k, picture) for k in range(1, 40)]
    took_s = time.monotonic() - begin_s
    assert 1 <= world.located <= 2 + took_s / 0.2
    assert {m.target_code for m in messages} == {GroundedAnswer.NO_DEPTH}
    assert sum("locate" in m.stages for m in messages) == 0  # no depth here


@pytest.mark.parametrize("count", [1, 8, 9, 100, 1000])
def test_few_images_are_kept_however_long_it_takes(count):
    history = FrameHistory()
    history.clear()
    for k in range(count):
        history.add(PassedFrame(k, np.zeros((1, 1, 3), np.uint8), ()))
    kept = [frame.stamp_ns for frame in history.since(-1)]
    assert len(kept) <= KEPT
    assert kept[0] == 0
    assert len(set(np.diff(kept))) <= 1  # evenly
    assert count - kept[-1] <= max(1, count / 2)
