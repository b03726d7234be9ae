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

"""More commands at once than ROS keeps by itself: each is answered, once."""

import pytest
from harness import wait_until
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from flmm_ros.action import Ground
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.interface.endpoints import GROUND

COUNT = 40


@pytest.fixture(scope="module")
def robot(start):
    _, robot = start(module="benchmarks.node.plain_node", autostart=True, max_queue=2)
    robot.wait_for_state("active")
    return robot


def test_a_burst_of_goals(robot):
    room = QoSProfile(depth=GROUND.depth)
    client = ActionClient(
        robot.node,
        Ground,
        "grounding_node/ground",
        goal_service_qos_profile=room,
        result_service_qos_profile=room,
    )
    assert client.wait_for_server(30.0)
    sent = [client.send_goal_async(Ground.Goal(command=f"point {n}")) for n in range(COUNT)]
    wait_until(lambda: all(future.done() for future in sent), 30, "acceptance of every goal")
    results = [future.result().get_result_async() for future in sent]
    wait_until(lambda: all(future.done() for future in results), 30, "the end of every goal")
    answers = [future.result().result.answer for future in results]
    assert sorted(a.command for a in answers) == sorted(f"point {n}" for n in range(COUNT))
    codes = {a.error_code for a in answers}
    assert codes <= {GroundedAnswer.NO_IMAGE, GroundedAnswer.BUSY}


def test_a_burst_of_topic_commands(robot):
    wait_until(robot.microphone.get_subscription_count, 30, "the command subscription")
    before = len(robot.seen.grounding)
    for n in range(COUNT):
        robot.microphone.publish(String(data=f"say {n}"))

    def heard():
        return [m.command for m in robot.seen.grounding[before:] if m.command.startswith("say")]

    wait_until(lambda: len(heard()) >= COUNT, 30, "an answer to every command")
    assert sorted(heard()) == sorted(f"say {n}" for n in range(COUNT))
