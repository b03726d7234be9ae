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

"""Nav2: drive to a place in front of what was named.

    python -m examples.go_to_object the red chair

The grounding node runs with depth and `target_frame:=base_link`: where the chair is, is then said
as seen from the robot, and Nav2 brings that into its map by the stamp of the image. Needs
nav2_simple_commander, which comes with a ROS distribution.
"""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, Quaternion

from flmm_ros import GroundingClient
from flmm_ros.ros.client.client import FoundTarget

STANDOFF_M = 0.8  # from the middle of the object to the robot's


def goal_in_front_of(target: FoundTarget, stamp: Time) -> PoseStamped:
    """On the straight way to a target in the robot's own frame, facing it."""
    x_m, y_m = target.position_m[:2]
    yaw_rad = math.atan2(y_m, x_m)
    way_m = max(0.0, math.hypot(x_m, y_m) - STANDOFF_M)
    goal = PoseStamped()
    goal.header.frame_id, goal.header.stamp = target.frame, stamp
    goal.pose.position.x = way_m * math.cos(yaw_rad)
    goal.pose.position.y = way_m * math.sin(yaw_rad)
    goal.pose.orientation = Quaternion(z=math.sin(yaw_rad / 2), w=math.cos(yaw_rad / 2))
    return goal


def go_to(client: Any, navigator: Any, words: str) -> str:
    """Finds what the words mean and drives there; returns what the robot says about it."""
    result = client.ground(words, timeout_s=10.0, intent="ground")
    if not result.present or result.is_ambiguous:
        return str(result.error_text or result.text)  # it is not there, or: which one?
    target = result.present[0].target
    if target is None:
        return f"I cannot tell where it is: {result.target_text}"
    navigator.goToPose(goal_in_front_of(target, result.header.stamp))
    while not navigator.isTaskComplete():
        time.sleep(0.1)
    return f"{result.text} Nav2: {navigator.getResult().name}"


def main() -> None:
    """Goes to what stands on the command line."""
    from nav2_simple_commander.robot_navigator import BasicNavigator

    words = rclpy.utilities.remove_ros_args(sys.argv)[1:]
    rclpy.init()
    navigator = BasicNavigator()
    navigator.waitUntilNav2Active()
    with GroundingClient(navigator) as client:
        print(go_to(client, navigator, " ".join(words)))
    rclpy.shutdown()


if __name__ == "__main__":
    main()
