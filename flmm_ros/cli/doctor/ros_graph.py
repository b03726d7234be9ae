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

"""What can be seen of ROS from here: distribution, middleware, and who publishes an image."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it needs rclpy, which may not be here
    from flmm_ros.ros.node.topic_publishers import PublisherFacts

DISCOVERY_S = 5.0  # Fast DDS announces a process every three seconds where the first was not heard


@dataclass(frozen=True)
class RosFacts:
    """ROS as this process sees it; without rclpy only `has_rclpy` means something."""

    has_rclpy: bool
    has_messages: bool = False
    distribution: str = ""
    middleware: str = ""
    domain: str = ""
    image_topic: str = ""
    publishers: tuple[PublisherFacts, ...] = ()

    @property
    def is_fine(self) -> bool:
        """Nothing is wrong with what is there; a machine without ROS is no fault."""
        return not any(p.problem for p in self.publishers)

    def lines(self) -> list[str]:
        """For people."""
        if not self.has_rclpy:
            return ["not here (no rclpy): source a distribution, or run make setup and make demo"]
        lines = [
            f"distribution {self.distribution or 'unknown'}, {self.middleware}, "
            f"ROS_DOMAIN_ID {self.domain}",
            "messages of flmm_ros: "
            + ("importable" if self.has_messages else "not built: colcon build, then source it"),
        ]
        if not self.publishers:
            lines.append(f"nobody publishes {self.image_topic}: start the camera, or remap image")
        for p in self.publishers:
            lines.append(
                f"{self.image_topic} from {p.node}: {p.type}, {p.reliability}, {p.durability}, "
                f"depth {p.depth}: {p.problem or 'matches the node (image_qos: auto)'}"
            )
        return lines


def look_around(image_topic: str) -> RosFacts:
    """Joins the graph for `DISCOVERY_S` at most and looks who publishes an image topic."""
    if find_spec("rclpy") is None:
        return RosFacts(has_rclpy=False)
    import rclpy
    from rclpy.context import Context
    from rclpy.qos import qos_profile_sensor_data

    from flmm_ros.ros.node.topic_publishers import publishers_of

    context = Context()
    context.init()
    node = rclpy.create_node("flmm_doctor", context=context, start_parameter_services=False)
    try:
        topic = node.resolve_topic_name(image_topic)
        end_s = time.monotonic() + DISCOVERY_S
        found = node.get_publishers_info_by_topic(topic)
        # A publisher may be seen before the name of its node is.
        while (not found or any("UNKNOWN" in i.node_name for i in found)) and (
            time.monotonic() < end_s
        ):
            time.sleep(0.05)
            found = node.get_publishers_info_by_topic(topic)
        # With image_qos: auto the node asks for best effort unless everybody offers reliable.
        publishers = publishers_of(node, topic, "raw", qos_profile_sensor_data)
    finally:
        node.destroy_node()
        context.shutdown()
    from rclpy.utilities import get_rmw_implementation_identifier

    return RosFacts(
        has_rclpy=True,
        has_messages=find_spec("flmm_ros.msg") is not None,
        distribution=os.environ.get("ROS_DISTRO", ""),
        middleware=get_rmw_implementation_identifier(),
        domain=os.environ.get("ROS_DOMAIN_ID", "0"),
        image_topic=topic,
        publishers=publishers,
    )
