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

"""Publishes the target of an answer: pose, points, grasps, the scene without it, markers.

Clouds and markers are only made where somebody listens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Float32

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.targets.target import Target
from flmm_ros.ros.interface import endpoints
from flmm_ros.ros.messages.point_cloud import cloud_to_msg
from flmm_ros.ros.targets import target_messages
from flmm_ros.ros.targets.target_finding import Space, main_target
from flmm_ros.ros.targets.target_markers import markers_to_msg


class TargetTopics:
    """The publishers of ~/target, ~/scene and ~/markers."""

    def __init__(self, node: Node) -> None:
        self._publishers = {
            endpoint.name: node.create_publisher(endpoint.type, endpoint.name, endpoint.depth)
            for endpoint in endpoints.TARGETS
        }

    def publish(
        self, rgb: NDArray[np.uint8], groundings: Sequence[Grounding], space: Space
    ) -> None:
        """One answer's target, if it has one; the scene wherever there was depth."""
        number = main_target(groundings, space)
        target = None if number is None else space.targets[number]
        if target is not None:
            self._publish_target(rgb, target, space)
        masks = [] if number is None else [groundings[number].mask]
        self._publish_scene(rgb, masks, space)
        if self._has_listener(endpoints.MARKERS):
            phrases = [grounding.phrase for grounding in groundings]
            self._of(endpoints.MARKERS).publish(markers_to_msg(phrases, space))

    def _publish_target(self, rgb: NDArray[np.uint8], target: Target, space: Space) -> None:
        pose = target_messages.pose_stamped(space, target.box.T_camera_box)
        self._of(endpoints.TARGET_POSE).publish(pose)
        self._of(endpoints.TARGET_GRASPS).publish(target_messages.grasps_to_msg(space, target))
        if target.grasps:
            best = target.grasps[0]
            self._of(endpoints.TARGET_GRASP_WIDTH).publish(Float32(data=best.width_m))
            grasp = target_messages.pose_stamped(space, best.T_camera_grasp)
            self._of(endpoints.TARGET_GRASP).publish(grasp)
        if self._has_listener(endpoints.TARGET_POINTS):
            self._publish_cloud(
                endpoints.TARGET_POINTS, target.points_m, rgb[target.surface], space
            )

    def _publish_scene(
        self, rgb: NDArray[np.uint8], masks: list[NDArray[np.bool_]], space: Space
    ) -> None:
        if space.image is not None and self._has_listener(endpoints.SCENE_POINTS):
            rest = space.image.points_without(masks)
            points_m = space.image.points_m[rest]
            self._publish_cloud(endpoints.SCENE_POINTS, points_m, rgb[rest], space)

    def _publish_cloud(
        self,
        endpoint: endpoints.Endpoint,
        points_m: NDArray[np.float32],
        colors: NDArray[np.uint8],
        space: Space,
    ) -> None:
        cloud = cloud_to_msg(points_m, colors, space.T_frame_camera, space.header)
        self._of(endpoint).publish(cloud)

    def _of(self, endpoint: endpoints.Endpoint) -> Any:
        return self._publishers[endpoint.name]

    def _has_listener(self, endpoint: endpoints.Endpoint) -> bool:
        return bool(self._of(endpoint).get_subscription_count() > 0)
