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

"""The cameras of a node by name, and their topics."""

from __future__ import annotations

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name

from flmm_ros.engine.errors import ConfigError
from flmm_ros.ros.interface.endpoints import CAMERA_INFO, IMAGE, Endpoint


def names_of(cameras: str) -> tuple[str, ...]:
    """All cameras of the parameter `cameras`, the main one, which has no name, first."""
    further = dict.fromkeys(name.strip() for name in cameras.split(",") if name.strip())
    return ("", *further)


def topic_of(camera: str, endpoint: Endpoint = IMAGE) -> str:
    """The relative topic of a camera: NAME/image; of the main one, which has no name, `image`."""
    return f"{camera}/{endpoint.name}" if camera else endpoint.name


def require_topics(node: Node, cameras: str) -> None:
    """Refuses names that make topics which ROS does not allow.

    Raises:
        ConfigError: with the first such name.
    """
    for camera in names_of(cameras):
        longest = topic_of(camera, CAMERA_INFO)
        try:
            if set("{}") & set(camera):
                raise ValueError("{} stands for a substitution")
            full = expand_topic_name(longest, node.get_name(), node.get_namespace())
            validate_full_topic_name(full)
        except (InvalidTopicNameException, ValueError) as error:
            reason = str(error).splitlines()[0].rstrip(":")
            raise ConfigError(
                "cameras: expected names of letters, digits, _ and / that begin with no digit, "
                f"such as front or head/left, separated by commas, got {camera!r} ({reason})"
            ) from error
