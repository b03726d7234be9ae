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

"""Depth of every camera, transforms and the topics of targets: all that a node does in 3D."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rclpy.node import Node

from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.ros.commands.answering import Reply
from flmm_ros.ros.depth.depth_cameras import DepthCameras
from flmm_ros.ros.interface import parameters
from flmm_ros.ros.interface.camera_names import names_of, topic_of
from flmm_ros.ros.interface.node_config import NodeConfig, SpaceConfig
from flmm_ros.ros.messages.vision_messages import VisionTopics
from flmm_ros.ros.targets.target_finding import (
    Locator,
    TargetSettings,
    find_targets,
    settings_from,
)
from flmm_ros.ros.targets.target_topics import TargetTopics
from flmm_ros.ros.targets.transforms import Transforms

QUICK_WAIT_S = 0.1
QUICK_SIDE_PX = 200


class DepthPipeline:
    """Listens while the node is active; its publishers live as long as the node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._depths = DepthCameras(node)
        self._transforms = Transforms(node)
        self._topics = TargetTopics(node)
        self._vision = VisionTopics(node)

    def open(self, settings: NodeConfig) -> None:
        """Listens to depth, and to transforms where a frame is asked for."""
        space = parameters.read(self._node, SpaceConfig)
        self._depths.open(names_of(settings.cameras), space, settings.image_qos)
        if space.target_frame:
            self._transforms.open()

    def close(self) -> None:
        """Listens no more, and forgets everything."""
        self._depths.close()
        self._transforms.close()

    def resubscribe(self) -> None:
        """Depth that came later, or with another QoS, is asked for what it offers now."""
        self._depths.resubscribe()

    def forget(self) -> None:
        """Drops what has come: it is from before the clock was set back."""
        self._depths.forget()

    def publish(self, reply: Reply) -> None:
        """The targets of an answer on their topics, and the answer as vision_msgs."""
        if reply.rgb is None:
            return
        if reply.space is not None:
            self._topics.publish(reply.rgb, reply.objects, reply.space)
        self._vision.publish(reply.msg, reply.score_threshold)

    def locator(self, camera_name: str) -> Locator:
        """Finds the objects of a camera in space, by the parameters of now."""
        return self._locator(camera_name, self._settings(camera_name))

    def quick_locator(self, camera_name: str) -> Locator:
        """For objects that are followed: no grasps, only depth around them, hardly any waiting."""
        settings = self._settings(camera_name)
        quick = replace(
            settings,
            engine=replace(settings.engine, grasps=False),
            depth_wait_s=QUICK_WAIT_S,
            crop_side_px=QUICK_SIDE_PX,
        )
        return self._locator(camera_name, quick)

    def _settings(self, camera_name: str) -> TargetSettings:
        engine = parameters.read(self._node, TargetConfig)
        space = parameters.read(self._node, SpaceConfig)
        return settings_from(engine, space, self._node.resolve_topic_name(topic_of(camera_name)))

    def _locator(self, camera_name: str, settings: TargetSettings) -> Locator:
        return Locator(
            self._depths.watcher(camera_name),
            partial(find_targets, frames=self._transforms, settings=settings),
        )
