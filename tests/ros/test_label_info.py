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

"""~/vision/labels: the threshold that is in force, and the last one for whoever comes late."""

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from test_depth import vision_kinds

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.grounder import Grounder
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answering import answer_command
from flmm_ros.ros.commands.chats import Chats
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.commands.worker import Job
from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.messages import vision_messages
from flmm_ros.ros.messages.conversions import image_to_msg


@pytest.fixture(scope="module")
def grounder():
    grounder = Grounder.from_config(GrounderConfig(threads=1))
    yield grounder
    grounder.close()


@pytest.mark.parametrize("setting", [-1.0, 0.25, 0.0])
def test_an_answer_carries_the_threshold_that_was_in_force(grounder, table, setting):
    grounder.update(GrounderConfig(threads=1, score_threshold=setting))
    own = grounder.model.score_threshold
    image = image_to_msg(table.render(1_000_003).rgb, Image().header)
    reply = answer_command(
        Job(Command("id", "point at the red mug", image=image)),
        grounder,
        NewestImage(Image),
        Chats(),
        now_ns=lambda: 0,
        max_age_s=0.0,
        max_chats=1,
    )
    assert own > 0 and reply.score_threshold == (own if setting < 0 else setting)
    for found in reply.msg.objects:
        is_seen = found.area_px > 0 and found.score >= reply.score_threshold
        assert found.is_present == is_seen


class PublisherRecorder:
    """Takes the place of a node whose machine has vision_msgs: notes QoS and what is published."""

    def __init__(self):
        self.qos, self.sent = {}, {}

    def create_publisher(self, kind, name, qos):
        self.qos[name] = qos
        recorder = self

        class Publisher:
            def publish(self, msg):
                recorder.sent[name] = msg

        return Publisher()


def test_labels_are_kept_for_whoever_subscribes_later(monkeypatch):
    node = PublisherRecorder()
    monkeypatch.setattr(vision_messages, "is_available", lambda: True)
    monkeypatch.setattr(vision_messages.importlib, "import_module", lambda _: vision_kinds())
    topics = vision_messages.VisionTopics(node)
    labels = node.qos["~/vision/labels"]
    assert isinstance(labels, QoSProfile) and labels.depth == 1
    assert labels.durability is DurabilityPolicy.TRANSIENT_LOCAL
    topics.publish(GroundedAnswer(), 0.25)
    assert np.isclose(node.sent["~/vision/labels"].threshold, 0.25)
