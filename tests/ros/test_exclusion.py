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

"""What a command excludes or forbids, through the real node: never an object, never a pixel."""

import numpy as np
import pytest
from action_msgs.msg import GoalStatus

from flmm_ros.msg import GroundedAnswer

SEED = 2_000_028  # a red mug, a blue ball, a blue duck, a blue cube, an orange ring, a yellow bunny


@pytest.fixture(scope="module")
def scene(table):
    return table.render(SEED)


@pytest.fixture(scope="module")
def robot(start, scene):
    _, robot = start(autostart=True)
    robot.wait_for_state("active")
    robot.show(scene.rgb)
    return robot


@pytest.mark.parametrize(
    ("command", "phrase", "name", "excluded"),
    [
        ("pick up the red mug, not the blue ball", "the red mug", "red mug", "blue ball"),
        ("Don’t take the blue ball, take the red mug", "the red mug", "red mug", "blue ball"),
        ("grab the blue duck instead of the red mug", "the blue duck", "blue duck", "red mug"),
        ("leave the red mug alone and point at the ring", "the ring", "orange ring", "red mug"),
    ],
)
def test_what_is_excluded_is_no_object(robot, scene, command, phrase, name, excluded):
    msg = robot.say(command)
    assert (msg.error_code, msg.error_text) == (GroundedAnswer.OK, "")
    assert [found.phrase for found in msg.objects] == [phrase]
    shape = msg.mask.height, msg.mask.width
    labels = np.frombuffer(msg.mask.data, np.uint8).reshape(shape)
    right, wrong = (scene.mask(scene.find(each)) for each in (name, excluded))
    assert (labels > 0)[right].mean() > 0.5
    assert not (labels > 0)[wrong].any()


@pytest.mark.parametrize(
    "command", ["don't touch the red mug", "leave the duck alone", "stop", "never take the ball"]
)
def test_a_prohibition_has_its_code_and_no_object(robot, command):
    msg = robot.say(command)
    assert msg.error_code == GroundedAnswer.PROHIBITION and msg.intent == "prohibition"
    assert msg.error_text and not msg.objects
    assert not np.frombuffer(msg.mask.data, np.uint8).any()
    goal = robot.send(command)
    assert goal.result().error_code == GroundedAnswer.PROHIBITION
    assert goal.status == GoalStatus.STATUS_ABORTED


@pytest.mark.parametrize(
    "command", ["pick up everything except the red mug", "I'd rather you didn't grab the red mug"]
)
def test_what_is_not_clear_is_refused(robot, command):
    msg = robot.say(command)
    assert msg.error_code == GroundedAnswer.BAD_COMMAND and not msg.objects
    assert "expected" in msg.error_text
