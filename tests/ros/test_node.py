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

"""Good and bad commands and images against the running node, by value."""

import array
import io

import numpy as np
import pytest
from harness import ANSWER_S, wait_until
from PIL import Image as PillowImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from flmm_ros.engine.masks.overlay import draw_overlay
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.messages import conversions

SEEDS = range(1_000_000, 1_000_006)


@pytest.fixture(scope="module")
def scenes(table):
    return [table.render(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def node_and_robot(start):
    node, robot = start(autostart=True)
    robot.wait_for_state("active")
    return node, robot


@pytest.fixture(scope="module")
def robot(node_and_robot):
    return node_and_robot[1]


def phrase(scene) -> str:
    return f"the {scene.objects[0].name}"


@pytest.fixture
def then_a_good_command_works(robot, scenes):
    yield
    header = robot.show(scenes[0].rgb)
    msg = robot.say(f"point at {phrase(scenes[0])}")
    assert (msg.error_code, msg.error_text, msg.header) == (GroundedAnswer.OK, "", header)


# This one is first: no image has come yet.
def test_a_command_before_the_first_image(robot, then_a_good_command_works):
    msg = robot.say("pick up the red mug")
    assert msg.error_code == GroundedAnswer.NO_IMAGE
    assert "no image has arrived" in msg.error_text
    assert msg.header == Header()
    assert (msg.command, msg.image_age_s, msg.mask.height) == ("pick up the red mug", -1.0, 0)


def test_every_output_equals_the_engines_own_result(robot, engine, scenes):
    robot.watch_overlay()
    for scene in scenes:
        header = robot.show(scene.rgb)
        command = f"pick up {phrase(scene)}"
        counts = len(robot.seen.answer), len(robot.seen.mask), len(robot.seen.overlay)
        msg = robot.say(command)
        expected = engine.open(scene.rgb).ask(command)

        assert (msg.error_code, msg.command, msg.answer) == (0, command, expected.text)
        assert (msg.intent, msg.model) == (expected.intent.value, engine.model_name)
        assert msg.header == msg.mask.header == header
        labels = conversions.label_image(expected.objects, scene.rgb.shape[:2])
        assert (msg.mask.encoding, msg.mask.step) == ("mono8", scene.rgb.shape[1])
        np.testing.assert_array_equal(np.frombuffer(msg.mask.data, np.uint8), labels.reshape(-1))
        for found, own in zip(msg.objects, expected.objects, strict=True):
            assert (found.phrase, found.is_present) == (own.phrase, own.is_present)
            assert found.score == pytest.approx(own.score, abs=1e-5)
            runs = conversions.mask_from_runs(found.mask_runs, own.mask.shape)
            np.testing.assert_array_equal(runs, own.mask)
            assert (found.text_start, found.text_end) == (own.text_span or (0, 0))

        seen = robot.seen
        wait_until(lambda: len(seen.overlay) > counts[2], ANSWER_S, "overlay")  # noqa: B023
        assert seen.answer[counts[0]].data == expected.text
        assert seen.mask[counts[1]] == msg.mask
        assert seen.overlay[counts[2]].header == header
        overlay = conversions.rgb_from_msg(seen.overlay[counts[2]])
        np.testing.assert_array_equal(overlay, draw_overlay(scene.rgb, expected.objects))


def test_masks_agree_with_the_simulators_truth(robot, scenes):
    overlaps = []
    for scene in scenes:
        robot.show(scene.rgb)
        for thing in scene.objects[:2]:
            msg = robot.say(f"point at the {thing.name}")
            mask = np.zeros(scene.labels.shape, bool)
            if msg.objects:
                mask = conversions.mask_from_runs(msg.objects[0].mask_runs, scene.labels.shape)
            truth = scene.mask(thing)
            overlaps.append((mask & truth).sum() / (mask | truth).sum())
    assert np.mean(overlaps) >= 0.6, overlaps


def test_timings_and_image_age_are_measured(robot, scenes):
    robot.show(scenes[1].rgb, robot.header(age_s=2.0))
    msg = robot.say(f"point at {phrase(scenes[1])}")
    assert msg.stages[-4:] == ["read", "decode", "see", "refine"]
    assert all(ms > 0 for ms in msg.stage_ms)
    assert msg.total_ms >= sum(msg.stage_ms) > 0
    assert 2.0 < msg.image_age_s < 4.0
    assert 0 <= msg.wait_ms < 1000


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("", GroundedAnswer.EMPTY_COMMAND, "got an empty command"),
        (" \t\n  ", GroundedAnswer.EMPTY_COMMAND, "got an empty command"),
        ("a" * 100_000, GroundedAnswer.COMMAND_TOO_LONG, "at most 1000 characters, got 100000"),
        ("?!?! 0101 ... ###", GroundedAnswer.BAD_COMMAND, ""),
        ("\x01\x02\u200b\ufffd", GroundedAnswer.BAD_COMMAND, ""),
        ("pick up the κούπα", GroundedAnswer.UNKNOWN_WORD, "κούπα"),
    ],
    ids=["empty", "blank", "long", "not-language", "control", "unknown"],
)
def test_a_bad_command_is_refused_by_topic_and_by_action(
    robot, scenes, then_a_good_command_works, command, code, text
):
    header = robot.show(scenes[0].rgb)
    for msg in (robot.say(command), robot.ask(command)):
        assert msg.error_code == code
        assert text in msg.error_text and msg.error_text
        assert msg.command == command[:1000]
        assert (msg.answer, len(msg.objects), msg.mask.height) == ("", 0, 0)
        is_checked_first = code in (GroundedAnswer.EMPTY_COMMAND, GroundedAnswer.COMMAND_TOO_LONG)
        assert msg.header == (Header() if is_checked_first else header)
    assert robot.seen.answer[-1].data == msg.error_text


def test_an_unknown_intent_is_refused_and_a_known_one_is_obeyed(
    robot, scenes, then_a_good_command_works
):
    robot.show(scenes[0].rgb)
    msg = robot.ask("the red mug", intent="dance")
    assert msg.error_code == GroundedAnswer.BAD_INTENT
    assert "ground, answer_and_ground, answer or nothing, got 'dance'" in msg.error_text
    assert robot.ask(f"point at {phrase(scenes[0])}", intent="ground").intent == "ground"


def test_an_image_that_is_too_old(robot, scenes, then_a_good_command_works):
    assert robot.set(max_image_age=1.0) == []
    header = robot.show(scenes[0].rgb, robot.header(age_s=7.5))
    msg = robot.say("point at the red mug")
    assert msg.error_code == GroundedAnswer.IMAGE_TOO_OLD
    assert "expected an image of at most 1 s (parameter max_image_age)" in msg.error_text
    assert msg.header == header
    unstamped = Header(frame_id="camera")
    robot.show(scenes[0].rgb, unstamped)
    msg = robot.say(f"point at {phrase(scenes[0])}")
    assert (msg.error_code, msg.header) == (GroundedAnswer.OK, unstamped)
    assert 0 <= msg.image_age_s < 1
    assert robot.set(max_image_age=0.0) == []


def image(**fields) -> Image:
    msg = conversions.image_to_msg(np.zeros((48, 64, 3), np.uint8), Header(frame_id="broken"))
    for key, value in fields.items():
        setattr(msg, key, value)
    return msg


BAD_IMAGES = {
    "encoding": (image(encoding="rgb9"), "expected an encoding out of"),
    "depth": (image(encoding="32FC1"), "got '32FC1'"),
    "small step": (image(step=100), "expected a step of at least 192 bytes"),
    "large step": (image(step=200), "expected 9600 bytes"),
    "height": (image(height=50), "expected 9600 bytes"),
    "zero size": (image(height=0, width=0, step=0, data=array.array("B")), "got 0x0"),
    "truncated": (image(data=array.array("B", bytes(5000))), "got 5000; the message is truncated"),
    "no data": (image(data=array.array("B")), "got 0;"),
    "tiny": (
        conversions.image_to_msg(np.zeros((1, 1, 3), np.uint8), Header(frame_id="broken")),
        "",
    ),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_refused_by_topic_and_in_a_goal(robot, then_a_good_command_works, name):
    msg, text = BAD_IMAGES[name]
    robot.publish(msg)
    for answer in (
        robot.say("point at the red mug"),
        robot.send("point at the red mug", use_image=True, image=msg).result(),
    ):
        assert answer.error_code == GroundedAnswer.BAD_IMAGE
        assert text in answer.error_text and answer.error_text
        assert answer.header.frame_id == "broken"


def test_a_goal_with_its_own_image_does_not_use_the_cameras(robot, engine, scenes):
    robot.show(scenes[0].rgb)
    command = f"point at {phrase(scenes[2])}"
    msg = robot.ask(command, scenes[2].rgb)
    labels = conversions.label_image(
        engine.open(scenes[2].rgb).ask(command).objects, scenes[2].labels.shape
    )
    np.testing.assert_array_equal(conversions.rgb_from_msg(msg.mask)[..., 0], labels)
    assert msg.image_age_s == -1.0


def test_the_newest_image_wins(robot, scenes):
    for scene in scenes[:-1]:
        robot.camera.publish(conversions.image_to_msg(scene.rgb, robot.header()))
    header = robot.show(scenes[-1].rgb)
    assert robot.say(f"point at {phrase(scenes[-1])}").header == header


def test_padded_bgr_rows_give_the_same_masks(robot, scenes):
    scene = scenes[3]
    command = f"point at {phrase(scene)}"
    robot.show(scene.rgb)
    plain = robot.say(command)
    padded = np.full((scene.rgb.shape[0], scene.rgb.shape[1] * 3 + 8), 77, np.uint8)
    padded[:, :-8] = scene.rgb[..., ::-1].reshape(scene.rgb.shape[0], -1)
    msg = conversions.image_to_msg(scene.rgb, robot.header())
    msg.encoding, msg.step = "bgr8", padded.shape[1]
    msg.data = array.array("B", padded.tobytes())
    robot.publish(msg)
    assert robot.say(command).mask.data == plain.mask.data


def test_live_parameters_hold_from_the_next_command_on(robot, scenes):
    for scene in scenes:
        robot.show(scene.rgb)
        command = f"point at {phrase(scene)}"
        score = robot.say(command).objects[0].score
        if score < 0.999:  # a probability may be rounded to 1
            break
    assert robot.set(score_threshold=(score + 1) / 2) == []
    assert [o.is_present for o in robot.say(command).objects] == [False]
    assert robot.set(score_threshold=0.0) == []
    assert [o.is_present for o in robot.say(command).objects] == [True]
    assert robot.set(max_command_chars=10) == []
    assert robot.say(command).error_code == GroundedAnswer.COMMAND_TOO_LONG
    assert robot.set(max_command_chars=1000, score_threshold=-1.0) == []


def test_bad_parameter_values_are_refused_with_a_reason(robot):
    assert robot.set(busy="later") == ["busy: expected one of queue, preempt, reject, got 'later'"]
    assert "score_threshold" in robot.set(score_threshold=2.0)[0]
    assert "max_queue" in robot.set(max_queue=-1)[0]
    assert "clean up first" in robot.set(model="another")[0]
    assert "max_queue" in robot.set(max_queue="many")[0]
    assert robot.set(max_image_age="old") == ["max_image_age: expected float, got str 'old'"]
    assert robot.set(max_image_age=0, command_timeout=0) == []  # integers, as people write them
    assert robot.state == "active"


def test_diagnostics_tell_what_goes_on(robot, scenes):
    robot.show(scenes[0].rgb)
    robot.say(f"point at {phrase(scenes[0])}")
    seen = robot.seen.diagnostics
    before = len(seen)
    status = wait_until(lambda: seen[before + 1 :], ANSWER_S, "diagnostics")[-1].status[0]
    values = {pair.key: pair.value for pair in status.values}
    assert status.name.endswith("/grounding_node: grounding")
    assert (status.level, status.message) == (b"\x00", "active")
    assert (values["state"], values["model"]) == ("active", robot.say("").model)
    assert values["image topic"].endswith("/image")
    assert int(values["image publishers"]) == 1
    assert int(values["images received"]) > 5
    assert float(values["image age s"]) < 5
    assert int(values["commands answered"]) > 5
    assert int(values["refused EMPTY_COMMAND"]) >= 2
    assert float(values["last refine ms"]) > 0


def test_each_command_had_exactly_one_answer(robot):
    ids = [msg.command_id for msg in robot.seen.grounding]
    assert len(ids) == len(set(ids))
    numbers = sorted(int(i.removeprefix("topic-")) for i in ids if i.startswith("topic-"))
    assert numbers == list(range(1, len(numbers) + 1))
    wait_until(lambda: len(robot.seen.answer) >= len(ids), ANSWER_S, "the last text")
    assert len(robot.seen.answer) == len(ids)


# Compressed images, after a clean up: the same node process.


def jpeg(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(rgb).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def compressed_robot(robot):
    assert robot.change("deactivate") and robot.change("cleanup")
    assert robot.set(image_transport="compressed") == []
    assert robot.change("configure") and robot.change("activate")
    return robot


def compressed(data: bytes, header: Header):
    from sensor_msgs.msg import CompressedImage

    return CompressedImage(header=header, format="jpeg", data=array.array("B", data))


def test_a_jpeg_is_answered_like_its_pixels(compressed_robot, engine, scenes):
    robot, scene = compressed_robot, scenes[4]
    data, header = jpeg(scene.rgb), robot.header()
    robot.publish(compressed(data, header))
    command = f"point at {phrase(scene)}"
    msg = robot.say(command)
    pixels = np.array(PillowImage.open(io.BytesIO(data)))
    labels = conversions.label_image(engine.open(pixels).ask(command).objects, pixels.shape[:2])
    assert (msg.error_code, msg.header) == (GroundedAnswer.OK, header)
    np.testing.assert_array_equal(conversions.rgb_from_msg(msg.mask)[..., 0], labels)


@pytest.mark.parametrize("how", ["half", "rubbish", "empty"])
def test_a_corrupt_jpeg_is_refused_and_the_next_good_one_works(compressed_robot, scenes, how):
    robot, data = compressed_robot, jpeg(scenes[4].rgb)
    broken = {"half": data[: len(data) // 2], "rubbish": b"\x00\xff" * 500, "empty": b""}[how]
    robot.publish(compressed(broken, robot.header()))
    msg = robot.say("point at the red mug")
    assert msg.error_code == GroundedAnswer.BAD_IMAGE
    assert "expected JPEG or PNG data" in msg.error_text
    robot.publish(compressed(data, robot.header()))
    assert robot.say(f"point at {phrase(scenes[4])}").error_code == GroundedAnswer.OK
