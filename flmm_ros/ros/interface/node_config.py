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

"""What the node itself can be set to, beside the engine's settings: queue, cameras, depth, holding.

Default, type, description, range and choices stand on the fields and nowhere else; ROS parameters
(parameters.py) and the tables in docs/interfaces.md are made from them.
"""

from __future__ import annotations

from dataclasses import dataclass

from flmm_ros.engine.config.schema import check, setting


@dataclass(frozen=True)
class NodeConfig:
    """What the node does around the engine."""

    image_transport: str = setting(
        "raw",
        "Type of the image topic: sensor_msgs/Image or sensor_msgs/CompressedImage (JPEG, PNG).",
        choices=("raw", "compressed"),
    )
    image_qos: str = setting(
        "auto",
        "Reliability of the image subscription. sensor_data is best effort and matches every "
        "publisher; auto is reliable while all publishers are, and follows them.",
        choices=("auto", "sensor_data", "reliable"),
    )
    cameras: str = setting(
        "",
        "Further cameras, names separated by commas: each has a topic NAME/image, and goals choose "
        "one by name. All share the loaded model.",
    )
    max_image_age: float = setting(
        0.0,
        "Seconds. A command whose newest image is older than this when its work starts is refused "
        "(stamp against the node's clock; arrival where the stamp is 0). 0 = no limit.",
        bounds=(0.0, 86400.0),
        live=True,
    )
    busy: str = setting(
        "queue",
        "A command comes while another is at work: queue lets it wait, preempt stops everything "
        "older, reject refuses it.",
        choices=("queue", "preempt", "reject"),
        live=True,
    )
    max_queue: int = setting(
        8,
        "Commands that may wait where busy is queue; further ones are refused.",
        bounds=(0, 1000),
        live=True,
    )
    command_timeout: float = setting(
        0.0,
        "Seconds from arrival to answer for commands of the topic and for goals with timeout_s 0. "
        "0 = no limit.",
        bounds=(0.0, 86400.0),
        live=True,
    )
    max_chats: int = setting(
        4,
        "Conversations that are remembered, each with its image; the longest silent goes first.",
        bounds=(1, 1000),
        live=True,
    )
    publish_overlay: bool = setting(
        True,
        "Draw ~/overlay and ~/heatmap; they cost nothing while nobody subscribes to them.",
        live=True,
    )
    warm_up: bool = setting(
        True,
        "Configure answers a command about a grey picture after loading, so that the first real "
        "one is not slower than the next. A failure is one of configure.",
    )
    autostart: bool = setting(
        False,
        "Configure and activate at start, without a lifecycle manager. A failed configure is "
        "logged and leaves the node unconfigured.",
    )
    bond: str = setting(
        "auto",
        "auto: while active, keep the bond that Nav2's lifecycle manager expects, if bondpy is "
        "installed. off: no bond; the manager then needs bond_timeout: 0.0.",
        choices=("auto", "off"),
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SpaceConfig:
    """What the node does about depth, frames, and objects that are held in view."""

    depth: str = setting(
        "auto",
        "auto: listen to depth and camera_info of every camera, and find targets where they come. "
        "off: 2D only.",
        choices=("auto", "off"),
    )
    depth_transport: str = setting(
        "raw",
        "Type of the depth topic: sensor_msgs/Image (16UC1 millimetres, 32FC1 metres), or "
        "sensor_msgs/CompressedImage as the transport compressedDepth sends it.",
        choices=("raw", "compressed"),
    )
    depth_tolerance: float = setting(
        0.05,
        "Seconds between the stamps of an image and of its depth and camera_info, at most.",
        bounds=(0.0, 10.0),
        live=True,
    )
    rectified: str = setting(
        "auto",
        "on: the image is rectified, P of camera_info counts. off: K and the distortion d do. "
        "auto: it is where the topic's name has rect in it, such as image_rect.",
        choices=("auto", "on", "off"),
        live=True,
    )
    target_frame: str = setting(
        "",
        "Frame of everything in metres, through tf2 at the image's stamp; its z axis is taken to "
        "point up. Empty: the image's own frame.",
        live=True,
    )
    tf_timeout: float = setting(
        0.2, "Seconds to wait for that transform.", bounds=(0.0, 10.0), live=True
    )
    hold: str = setting(
        "off",
        "on: after each answer follow its objects at camera rate and publish them on ~/held, until "
        "a new answer. The service ~/hold does the same once.",
        choices=("off", "on"),
        live=True,
    )
    hold_period: float = setting(
        5.0,
        "Seconds after which held objects are grounded again, so that no error grows. 0 = only "
        "when one is lost.",
        bounds=(0.0, 3600.0),
        live=True,
    )
    hold_confidence: float = setting(
        0.35,
        "A held object whose confidence falls below this is lost, and is grounded again.",
        bounds=(0.0, 1.0),
        live=True,
    )

    def __post_init__(self) -> None:
        check(self)
