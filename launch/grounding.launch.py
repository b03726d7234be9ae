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

"""Starts the grounding node on a robot's camera, and the console where it is wanted.

    ros2 launch flmm_ros grounding.launch.py image_topic:=/camera/color/image_raw
    ros2 launch flmm_ros grounding.launch.py hold:=on target_frame:=base_link max_image_age:=0.5
    ros2 launch flmm_ros grounding.launch.py console:=true      # and a web page to talk to it
    ros2 launch flmm_ros grounding.launch.py --show-args

Every parameter of the node is an argument, and can be set in `params_file`; an argument that is
left empty leaves it to the file. All arguments: flmm_ros/ros/interface/launch_arguments.py.
"""

from __future__ import annotations

import sys

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from flmm_ros.ros.interface import launch_arguments


def generate_launch_description() -> LaunchDescription:
    """Declares the arguments and starts one node with them."""
    default_params = PathJoinSubstitution(
        [FindPackageShare("flmm_ros"), "config", "grounding.yaml"]
    )
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    argument.name,
                    default_value=argument.default,
                    description=argument.doc,
                    choices=list(argument.choices) or None,
                )
                for argument in launch_arguments.ARGUMENTS
            ),
            DeclareLaunchArgument(
                launch_arguments.PARAMS_FILE,
                default_value=default_params,
                description="YAML file with the node's parameters.",
            ),
            OpaqueFunction(function=_start_node),
            OpaqueFunction(function=_name_unknown_arguments),
            _console(),
        ]
    )


def _console() -> Node:
    """The console, beside the node and on the same camera topic."""
    return Node(
        package="flmm_ros",
        executable="console",
        name="console",
        namespace=LaunchConfiguration("namespace"),
        condition=IfCondition(LaunchConfiguration("console")),
        remappings=[("image", LaunchConfiguration("image_topic"))],
        arguments=[
            "--host",
            LaunchConfiguration("console_host"),
            "--port",
            LaunchConfiguration("console_port"),
        ],
        output="screen",
        emulate_tty=True,
    )


def _start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node. Opaque, because an argument that was left empty must not override the file."""
    given = launch_arguments.parameters_of(context.launch_configurations)
    overrides = {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in given.items()
    }
    return [
        LifecycleNode(
            package="flmm_ros",
            executable="grounding_node",
            name="grounding_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration(launch_arguments.PARAMS_FILE), overrides],
            remappings=[
                ("image", LaunchConfiguration("image_topic")),
                ("depth", LaunchConfiguration("depth_topic")),
                ("camera_info", LaunchConfiguration("camera_info_topic")),
                ("command", LaunchConfiguration("command_topic")),
            ],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
            emulate_tty=True,
        )
    ]


def _name_unknown_arguments(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The launch system takes any argument without a word, also `imag_topic:=/x`."""
    given = context.launch_configurations
    advice = launch_arguments.unknown_arguments(
        given, launch_arguments.NAMES, "grounding.launch.py", sys.argv
    )
    return [LogInfo(msg=text) for text in advice]
