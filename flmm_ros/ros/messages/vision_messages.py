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

"""Answers as vision_msgs, for programs that know these and not ours; where that package is there.

    ~/vision/detections_2d   Detection2DArray: boxes in pixels
    ~/vision/detections_3d   Detection3DArray: boxes in metres, of objects with a target
    ~/vision/labels          LabelInfo: what the pixel values of ~/mask mean

The class of a detection is its phrase, its id the object's value in ~/mask. Only objects that are
present stand in them.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from flmm_ros.msg import GroundedAnswer, GroundedObject

DETECTIONS_2D, DETECTIONS_3D = "~/vision/detections_2d", "~/vision/detections_3d"
LABELS = "~/vision/labels"
_DEPTH = 10
# As LabelInfo asks for: whoever comes late hears what the labels of the last answer mean.
_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def is_available() -> bool:
    """vision_msgs is installed."""
    return importlib.util.find_spec("vision_msgs") is not None


class VisionMessages:
    """Makes the three messages of an answer. kinds: the module vision_msgs.msg."""

    def __init__(self, kinds: Any) -> None:
        self._kinds = kinds

    def detections_2d(self, answer: GroundedAnswer) -> Any:
        """Boxes in pixels; their middles on the same scale as ours: a far edge is exclusive."""
        detections = []
        for found in _present(answer):
            box = self._kinds.BoundingBox2D()
            box.center.position.x = (found.x_min_px + found.x_max_px) / 2
            box.center.position.y = (found.y_min_px + found.y_max_px) / 2
            box.size_x = float(found.x_max_px - found.x_min_px)
            box.size_y = float(found.y_max_px - found.y_min_px)
            detections.append(
                self._kinds.Detection2D(
                    header=answer.header,
                    results=[self._hypothesis(found)],
                    bbox=box,
                    id=str(found.label),
                )
            )
        return self._kinds.Detection2DArray(header=answer.header, detections=detections)

    def detections_3d(self, answer: GroundedAnswer) -> Any:
        """Boxes in metres in the answer's target frame."""
        header = type(answer.header)(stamp=answer.header.stamp, frame_id=answer.target_frame)
        detections = []
        for found in _present(answer):
            if found.has_target:
                hypothesis = self._hypothesis(found)
                hypothesis.pose.pose = found.box_pose
                box = self._kinds.BoundingBox3D(center=found.box_pose, size=found.box_size_m)
                detections.append(
                    self._kinds.Detection3D(
                        header=header, results=[hypothesis], bbox=box, id=str(found.label)
                    )
                )
        return self._kinds.Detection3DArray(header=header, detections=detections)

    def labels(self, answer: GroundedAnswer, threshold: float) -> Any:
        """The phrase of each value in the label image. threshold: of the score, as it is in force,
        0..1."""
        classes = [
            self._kinds.VisionClass(class_id=found.label, class_name=found.phrase)
            for found in _present(answer)
        ]
        return self._kinds.LabelInfo(
            header=answer.header, class_map=classes, threshold=float(threshold)
        )

    def _hypothesis(self, found: GroundedObject) -> Any:
        result = self._kinds.ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = found.phrase, float(found.score)
        return result


class VisionTopics:
    """Publishes them, where vision_msgs is installed; else does nothing."""

    def __init__(self, node: Node) -> None:
        self._messages: VisionMessages | None = None
        if is_available():
            kinds = importlib.import_module("vision_msgs.msg")
            self._messages = VisionMessages(kinds)
            self._boxes = node.create_publisher(kinds.Detection2DArray, DETECTIONS_2D, _DEPTH)
            self._solids = node.create_publisher(kinds.Detection3DArray, DETECTIONS_3D, _DEPTH)
            self._labels = node.create_publisher(kinds.LabelInfo, LABELS, _LATCHED)

    def publish(self, answer: GroundedAnswer, threshold: float) -> None:
        """One answer that is not a refusal."""
        if self._messages is not None:
            self._boxes.publish(self._messages.detections_2d(answer))
            self._solids.publish(self._messages.detections_3d(answer))
            self._labels.publish(self._messages.labels(answer, threshold))


def _present(answer: GroundedAnswer) -> list[GroundedObject]:
    return [found for found in answer.objects if found.is_present and found.label > 0]
