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

"""Starts a simulated camera and the grounding node that looks at it.

ros2 launch flmm_ros demo.launch.py seed:=2000028
ros2 run flmm_ros flmm ask "the red mug"
ros2 param set /camera seed 2000031
"""

from __future__ import annotations

import sys

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from flmm_ros.ros.interface import launch_arguments

OWN = ("seed", "rate_hz")


def generate_launch_description() -> LaunchDescription:
    """Declares the camera's arguments; those of grounding.launch.py can be given too."""
    grounding = PathJoinSubstitution(
        [FindPackageShare("flmm_ros"), "launch", "grounding.launch.py"]
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "seed",
                default_value="2000028",
                description="Which scene the camera shows; later: ros2 param set /camera seed N.",
            ),
            DeclareLaunchArgument(
                "rate_hz",
                default_value="10.0",
                description="Pictures per second.",
            ),
            Node(
                package="flmm_ros",
                executable="simulated_camera",
                name="camera",
                parameters=[
                    {
                        "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                        "rate_hz": ParameterValue(LaunchConfiguration("rate_hz"), value_type=float),
                    }
                ],
                output="screen",
                emulate_tty=True,
            ),
            OpaqueFunction(function=_name_unknown_arguments),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(grounding)),
        ]
    )


def _name_unknown_arguments(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The launch system takes any argument without a word, also a misspelt one."""
    declared = {*OWN, *launch_arguments.NAMES}
    given = context.launch_configurations
    advice = launch_arguments.unknown_arguments(given, declared, "demo.launch.py", sys.argv)
    return [LogInfo(msg=text) for text in advice]
