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

"""Every topic, service and action of the node, declared once: the node creates them from here and
the tables in docs/interfaces.md are made from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Float32, String
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from flmm_ros.action import Ground
from flmm_ros.msg import GroundedAnswer

# A burst of commands must find room before an executor thread looks: ROS's usual 10 loses the
# eleventh without a word.
BURST = 100
ANSWERS = 50  # as long as a listener may sleep; each may hold a mask
LIVELINESS_LEASE_S = 2.0  # of the action's status topic, see client/node_liveliness.py


@dataclass(frozen=True)
class Endpoint:
    """A name (relative, `~/` = under the node's name), its message type, history depth, meaning."""

    name: str
    type: Any
    depth: int
    doc: str


IMAGE = Endpoint(
    "image",
    Image,
    1,
    "Camera. sensor_msgs/CompressedImage where image_transport is compressed. Only subscribed "
    "while the node is active; newest frame wins.",
)
DEPTH = Endpoint(
    "depth",
    Image,
    8,  # they wait here until a command needs them
    "Depth registered to `image`, 16UC1 or 32FC1. sensor_msgs/CompressedImage where "
    "depth_transport is compressed. NAME/depth for a further camera.",
)
CAMERA_INFO = Endpoint(
    "camera_info", CameraInfo, 30, "Intrinsics of `image`. NAME/camera_info for a further camera."
)
COMMAND = Endpoint("command", String, BURST, "A sentence about the newest image.")
GROUNDING = Endpoint(
    "~/grounding",
    GroundedAnswer,
    ANSWERS,
    "The whole answer; exactly one for every command and every goal, refusals included.",
)
ANSWER = Endpoint(
    "~/answer", String, ANSWERS, "The answer's text, or why there is none: to be spoken."
)
MASK = Endpoint("~/mask", Image, 5, "Label image of the answer, mono8 (mono16 above 254 objects).")
OVERLAY = Endpoint(
    "~/overlay",
    Image,
    5,
    "rgb8: the image with masks, phrases and scores. Only drawn while somebody subscribes.",
)
HEATMAP = Endpoint(
    "~/heatmap",
    Image,
    5,
    "rgb8, one picture a phrase, one under another: what its words look at. Only drawn while "
    "somebody subscribes.",
)
TARGET_POSE = Endpoint(
    "~/target/pose",
    PoseStamped,
    10,
    "Where the target is: the middle and axes of its box. The target is the first object of an "
    "answer that is present, has depth, and is not one of several that may be meant.",
)
TARGET_POINTS = Endpoint(
    "~/target/points", PointCloud2, 5, "Its visible surface: x, y, z, rgb. Only for subscribers."
)
TARGET_GRASPS = Endpoint(
    "~/target/grasps",
    PoseArray,
    10,
    "Grasps of it, best first; may be none. z = approach, y = closing line, between the tips.",
)
TARGET_GRASP = Endpoint("~/target/grasp", PoseStamped, 10, "The best of them, where there is one.")
TARGET_GRASP_WIDTH = Endpoint(
    "~/target/grasp_width", Float32, 10, "Metres between its contacts: open wider than this."
)
SCENE_POINTS = Endpoint(
    "~/scene/points_without_target",
    PointCloud2,
    5,
    "All other points of the depth image, for a collision map. Only for subscribers.",
)
MARKERS = Endpoint(
    "~/markers",
    MarkerArray,
    5,
    "For RViz: boxes, phrases, the best grasps. Only for subscribers.",
)
HELD = Endpoint(
    "~/held",
    GroundedAnswer,
    5,
    "The held objects in every camera image, with track_id and track_confidence; targets five "
    "times a second at most. Nothing is followed while nobody subscribes.",
)
DIAGNOSTICS = Endpoint(
    "/diagnostics",
    DiagnosticArray,
    10,
    "Once a second: state, model, images, commands by error code, last times.",
)
GROUND = Endpoint(
    "~/ground",
    Ground,
    BURST,
    "One command with feedback and cancel, about the newest image or one of its own.",
)
HOLD = Endpoint(
    "~/hold",
    SetBool,
    0,
    "true: follow the objects of the last answer, published on ~/held. false: no longer.",
)

INPUTS = (IMAGE, DEPTH, CAMERA_INFO, COMMAND)
TARGETS = (
    TARGET_POSE,
    TARGET_POINTS,
    TARGET_GRASPS,
    TARGET_GRASP,
    TARGET_GRASP_WIDTH,
    SCENE_POINTS,
    MARKERS,
)
OUTPUTS = (GROUNDING, ANSWER, MASK, OVERLAY, HEATMAP, *TARGETS, HELD, DIAGNOSTICS)
ACTIONS = (GROUND,)
SERVICES = (HOLD,)
