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

"""Cameras that come back differently, and clocks that stand still or are set back."""

import time

import numpy as np
import pytest
from harness import ANSWER_S, wait_until
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.depth.depth_cameras import DepthCameras
from flmm_ros.ros.images.camera import Cameras
from flmm_ros.ros.interface.node_config import NodeConfig, SpaceConfig
from flmm_ros.ros.messages.conversions import image_to_msg

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
RGB = np.zeros((48, 64, 3), np.uint8)

MATCHED_S = 15.0  # DDS announces now and again; where the first was not heard, the next helps
NEVER_S = 1.0


class Stage:
    """A driver and the node's cameras in one process, spun by hand."""

    def __init__(self, name):
        self.node = Node(name, namespace=f"/{name}")
        self.context = Context()  # one participant cannot offer a topic in two types
        self.context.init()
        self.driver = Node("driver", namespace=f"/{name}", context=self.context)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.cameras = Cameras(self.node)
        self.publisher = None

    def offer(self, reliability, kind=Image):
        """A driver that was restarted with another QoS or type."""
        if self.publisher is not None:
            self.driver.destroy_publisher(self.publisher)
        profile = QoSProfile(depth=1, reliability=reliability)
        self.publisher = self.driver.create_publisher(kind, "image", profile)
        topic, name = f"{self.node.get_namespace()}/image", f"sensor_msgs/msg/{kind.__name__}"

        def is_seen():
            found = self.node.get_publishers_info_by_topic(topic)
            return [(i.topic_type, i.qos_profile.reliability) for i in found] == [
                (name, reliability)
            ]

        self.until(is_seen)

    def until(self, condition):
        wait_until(lambda: self.executor.spin_once(timeout_sec=0.02) or condition(), 20, "")

    def asked_for(self):
        return self.cameras._subscriptions[""].reliability

    def receives(self, within_s=MATCHED_S):
        """Whether a picture arrives."""
        before, end_s = self.cameras[""].count, time.monotonic() + within_s
        while self.cameras[""].count == before and time.monotonic() < end_s:
            self.publisher.publish(image_to_msg(RGB, Header()))
            self.executor.spin_once(timeout_sec=0.05)
        return self.cameras[""].count > before

    def close(self):
        self.cameras.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.driver.destroy_node()
        self.context.shutdown()


@pytest.fixture
def stage(_rclpy, request):
    stage = Stage(f"cameras_{abs(hash(request.node.name)) % 10**8}")
    yield stage
    stage.close()


def test_a_camera_that_comes_back_with_less_is_asked_for_less(stage):
    stage.offer(RELIABLE)
    stage.cameras.open(NodeConfig())
    assert stage.asked_for() is RELIABLE and stage.receives()
    stage.cameras.resubscribe()
    assert stage.asked_for() is RELIABLE  # nothing has changed
    stage.offer(BEST_EFFORT)
    assert not stage.receives(NEVER_S)
    problem = stage.cameras.facts(0)[0].publishers[0].problem
    assert problem.startswith("it offers best effort, the node asks for reliable")
    stage.cameras.resubscribe()
    assert stage.asked_for() is BEST_EFFORT and stage.receives()
    stage.offer(RELIABLE)
    assert stage.receives()
    stage.cameras.resubscribe()
    assert stage.asked_for() is RELIABLE and stage.receives()


def test_a_camera_that_starts_after_the_node_is_asked_for_all_it_offers(stage):
    """Best effort loses parts of large images; nobody should have to start things in an order."""
    stage.cameras.open(NodeConfig())
    assert stage.asked_for() is BEST_EFFORT
    stage.cameras.resubscribe()
    assert stage.asked_for() is BEST_EFFORT  # nobody is there
    stage.offer(RELIABLE)
    stage.cameras.resubscribe()
    assert stage.asked_for() is RELIABLE and stage.receives()


def test_depth_follows_its_publishers_too(stage):
    depths = DepthCameras(stage.node)
    depths.open(("",), SpaceConfig(), "auto")
    topic = f"{stage.node.get_namespace()}/depth"

    def offer(reliability):
        profile = QoSProfile(depth=1, reliability=reliability)
        publisher = stage.driver.create_publisher(Image, "depth", profile)
        stage.until(lambda: stage.node.get_publishers_info_by_topic(topic))
        return publisher

    def receives(publisher, within_s=MATCHED_S):
        before, end_s = depths.counts()[""], time.monotonic() + within_s
        while depths.counts()[""] == before and time.monotonic() < end_s:
            publisher.publish(image_to_msg(RGB, Header()))
            stage.executor.spin_once(timeout_sec=0.05)
        return depths.counts()[""] > before

    def asked_for():
        return {heard.topic: heard.reliability for heard in depths._subscriptions}[topic]

    assert asked_for() is BEST_EFFORT
    publisher = offer(RELIABLE)
    depths.resubscribe()
    assert asked_for() is RELIABLE and receives(publisher)
    stage.driver.destroy_publisher(publisher)
    stage.until(lambda: not stage.node.get_publishers_info_by_topic(topic))
    depths.resubscribe()
    assert asked_for() is RELIABLE  # nobody is there: nothing to follow
    publisher = offer(BEST_EFFORT)
    assert not receives(publisher, NEVER_S)
    depths.resubscribe()
    assert asked_for() is BEST_EFFORT and receives(publisher)
    depths.close()


def test_what_was_asked_for_by_parameter_stays(stage):
    stage.offer(BEST_EFFORT)
    stage.cameras.open(NodeConfig(image_qos="reliable"))
    stage.cameras.resubscribe()
    assert stage.asked_for() is RELIABLE and not stage.receives(NEVER_S)
    fact = stage.cameras.facts(0)[0]
    assert (fact.received, fact.age_s) == (0, None)
    assert fact.publishers[0].node.endswith("/driver")


def test_a_topic_of_the_other_type_is_named(stage):
    stage.cameras.open(NodeConfig())
    stage.offer(RELIABLE, CompressedImage)
    problem = stage.cameras.facts(0)[0].publishers[0].problem
    assert problem == "set the parameter image_transport to compressed"


def test_the_node_works_while_the_clock_stands_still_and_forgets_when_it_is_set_back(start):
    """No tick has come when it starts itself; then the time repeats."""
    _, robot = start(
        module="benchmarks.node.plain_node", autostart=True, use_sim_time=True, max_image_age=1.0
    )
    robot.wait_for_state("active")
    ticks = robot.node.create_publisher(Clock, "/clock", 1)
    wait_until(ticks.get_subscription_count, ANSWER_S, "the node's clock")

    def tick(second):
        clock = Clock()
        clock.clock.sec = second
        for _ in range(4):  # the first may come before the node knows who ticks
            ticks.publish(clock)
            time.sleep(0.1)

    def show(second):
        header = Header()
        header.stamp.sec = second
        robot.show(RGB, header)

    tick(100)
    show(100)
    assert robot.ask("point at the rectangle").error_code == GroundedAnswer.OK
    tick(50)
    assert robot.ask("point at the rectangle").error_code == GroundedAnswer.NO_IMAGE
    show(100)  # still on its way when the clock was set back
    late = robot.ask("point at the rectangle")
    assert late.error_code == GroundedAnswer.IMAGE_TOO_OLD
    assert "50.000 s in the future" in late.error_text
    show(50)
    good = robot.ask("point at the rectangle")
    assert (good.error_code, good.header.stamp.sec) == (GroundedAnswer.OK, 50)
    said = wait_until(lambda: robot.seen.diagnostics, ANSWER_S, "diagnostics")[-1].status[0]
    values = {v.key: v.value for v in said.values}
    assert float(values["memory MiB"]) > 50 and "image published by" in values
