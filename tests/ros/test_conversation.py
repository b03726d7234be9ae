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

"""Conversations, further cameras and heat maps against the running node, by value."""

import time
from dataclasses import fields

import numpy as np
import pytest
from harness import ANSWER_S, wait_until
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from flmm_ros.engine.answer import Answer, Intent
from flmm_ros.engine.masks.overlay import draw_heatmaps
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answering import answer_command
from flmm_ros.ros.commands.chats import Chats, Conversation
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.commands.image_choice import choose_image
from flmm_ros.ros.commands.worker import Job
from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.interface.camera_names import names_of, topic_of
from flmm_ros.ros.messages import conversions

SEEDS = (1_000_010, 1_000_011)


@pytest.fixture(scope="module")
def scenes(table):
    return [table.render(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def robot(start):
    _, robot = start(autostart=True, cameras="wrist, side", max_chats=2)
    robot.wait_for_state("active")
    return robot


def test_a_conversation_stays_with_its_first_image_and_knows_what_was_said(robot, engine, scenes):
    first = robot.show(scenes[0].rgb)
    thing = scenes[0].objects[0]
    chat = engine.open(scenes[0].rgb).chat()
    commands = [f"what is the {thing.color} thing?", "pick it up", "how many objects are there?"]
    for n, command in enumerate(commands):
        msg = robot.ask(command, chat_id="kitchen")
        expected = chat.say(command)
        assert (msg.error_code, msg.chat_id, msg.header) == (GroundedAnswer.OK, "kitchen", first)
        assert (msg.command, msg.answer) == (command, expected.text)
        assert [o.phrase for o in msg.objects] == [o.phrase for o in expected.objects]
        if n == 0:
            second = robot.show(scenes[1].rgb)  # the camera has moved on
    alone = robot.ask("how many objects are there?")
    assert (alone.chat_id, alone.header) == ("", second)
    other = robot.ask("how many objects are there?", chat_id="bathroom")
    assert other.header == second


def test_it_without_a_conversation_is_nothing_to_point_at(robot, scenes):
    robot.show(scenes[0].rgb)
    fresh = robot.ask("pick it up", chat_id="nothing was said here", intent="ground")
    assert fresh.error_code == GroundedAnswer.BAD_COMMAND


def test_further_cameras_have_their_own_image(robot, engine, scenes):
    main = robot.show(scenes[0].rgb)
    wrist = robot.node.create_publisher(Image, "wrist/image", qos_profile_sensor_data)
    wait_until(wrist.get_subscription_count, ANSWER_S, "the wrist subscription")
    header = robot.header()
    header.frame_id = "wrist_optical_frame"
    time.sleep(0.1)
    wrist.publish(conversions.image_to_msg(scenes[1].rgb, header))
    time.sleep(0.2)
    command = "how many objects are there?"
    seen = robot.ask(command, camera="wrist")
    assert (seen.header, seen.answer) == (header, engine.open(scenes[1].rgb).ask(command).text)
    assert robot.ask(command).header == main
    assert robot.ask(command, camera="side").error_code == GroundedAnswer.NO_IMAGE
    refused = robot.ask(command, camera="belly")
    assert refused.error_code == GroundedAnswer.BAD_CAMERA
    assert "cameras (wrist, side)" in refused.error_text and "'belly'" in refused.error_text


def test_heat_maps_are_drawn_only_while_somebody_looks(robot, engine, scenes):
    header = robot.show(scenes[0].rgb)
    names = [f"the {thing.name}" for thing in scenes[0].objects[:2]]
    command = f"point at {names[0]} and {names[1]}"
    robot.ask(command)
    seen: list[Image] = []
    topic = "grounding_node/heatmap"
    subscription = robot.node.create_subscription(Image, topic, seen.append, 10)
    time.sleep(0.5)
    assert not seen
    robot.ask(command)
    wait_until(lambda: seen, ANSWER_S, "a heat map")
    robot.node.destroy_subscription(subscription)
    expected = draw_heatmaps(scenes[0].rgb, engine.open(scenes[0].rgb).ask(command).objects)
    assert seen[0].header == header
    drawn = conversions.rgb_from_msg(seen[0])
    assert drawn.shape == expected.shape
    np.testing.assert_allclose(drawn.astype(int), expected.astype(int), atol=2)


def test_only_the_newest_conversations_are_kept():
    begun: list[str] = []

    def begin(name: str) -> Conversation:
        begun.append(name)
        return Conversation(object(), Header(), object(), 0.0)

    chats = Chats()
    for name in ("a", "b", "a", "c", "a", "b"):  # b is forgotten when c comes: a was used since
        chats.get(name, lambda name=name: begin(name), 2)
    assert begun == ["a", "b", "c", "b"]
    chats.clear()
    chats.get("b", lambda: begin("b again"), 2)
    assert begun[-1] == "b again"


def test_a_conversation_that_could_not_begin_is_not_kept():
    def fail() -> Conversation:
        raise RuntimeError("no image")

    chats = Chats()
    with pytest.raises(RuntimeError):
        chats.get("a", fail, 2)
    with pytest.raises(RuntimeError):
        chats.get("a", fail, 2)


def test_names_and_topics_of_cameras():
    assert names_of("") == ("",)
    assert names_of(" wrist,front, wrist,") == ("", "wrist", "front")
    assert [topic_of(name) for name in ("", "wrist")] == ["image", "wrist/image"]


class OpenedScene:
    """What an engine makes of pixels: keeps them, and answers."""

    def __init__(self, image):
        self.image = image

    def chat(self):
        return self

    def say(self, command, intent=None, on_stage=None):
        return Answer("here", (), Intent.ANSWER, {"total": 1.0})


class Opener:
    """An engine of such scenes."""

    model_name, score_threshold = "opener", 0.5

    def open(self, image):
        return OpenedScene(image.copy())


def test_a_conversation_keeps_neither_the_message_nor_a_second_copy_of_the_pixels():
    image = conversions.image_to_msg(np.full((8, 12, 3), 7, np.uint8), Header(frame_id="wrist"))
    chats = Chats()
    about = {"now_ns": lambda: 0, "max_age_s": 0.0, "max_chats": 2}
    first = Command("1", "hello", image=image, chat_id="a")
    reply = answer_command(Job(first), Opener(), NewestImage(Image), chats, **about)
    kept = chats.get("a", pytest.fail, 2)
    assert {field.name for field in fields(kept)} == {"chat", "header", "scene", "age_s", "depth"}
    assert kept.header.frame_id == "wrist" and reply.rgb is kept.scene.image
    again = Command("2", "and now?", chat_id="a")
    reply = answer_command(Job(again), Opener(), NewestImage(Image), chats, **about)
    assert reply.msg.header.frame_id == "wrist" and reply.rgb is kept.scene.image


def test_the_clock_is_read_after_the_image_was_chosen():
    """An image that arrives while the command begins is not from the future."""
    newest = NewestImage(Image)
    clock_ns = [1_000_000_000]

    def arrive() -> None:
        clock_ns[0] += 50_000_000
        image = Image()
        image.header.stamp.sec, image.header.stamp.nanosec = divmod(clock_ns[0], 1_000_000_000)
        newest.put(image)

    newest.fetch_with(arrive)
    command = Command("1", "hello")
    _, age_s = choose_image(command, newest, now_ns=lambda: clock_ns[0], max_age_s=0.01)
    assert age_s == 0.0
