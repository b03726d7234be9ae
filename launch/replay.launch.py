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

"""Plays a recording into the grounding node and measures what a robot would have seen.

    ros2 launch flmm_ros replay.launch.py bag:=/data/mugs scenario:=/data/mugs.yaml rate:=1.0

Starts the node on simulated time, plays once, writes the results, and shuts down; it fails where a
threshold of the scenario is not met, so that it can stand in CI. The arguments of
grounding.launch.py, such as `model`, can be given too.
"""

from __future__ import annotations

import sys
from typing import Any

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import FindExecutable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import SetParameter
from launch_ros.substitutions import FindPackageShare

from flmm_ros.ros.interface import launch_arguments

OWN = ("bag", "scenario", "out", "rate")


def generate_launch_description() -> LaunchDescription:
    """Declares the arguments, starts the node and, beside it, the replay."""
    grounding = PathJoinSubstitution(
        [FindPackageShare("flmm_ros"), "launch", "grounding.launch.py"]
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "bag",
                description="The recording: a rosbag2 folder, or an .mcap or .db3 file.",
            ),
            DeclareLaunchArgument(
                "scenario",
                default_value="",
                description="What is asked and expected (YAML); empty: scenario.yaml in the bag.",
            ),
            DeclareLaunchArgument(
                "out",
                default_value="",
                description="Folder of the results; empty: out/replay/NAME of the recording.",
            ),
            DeclareLaunchArgument(
                "rate",
                default_value="1.0",
                description="How fast it is played; 2 = twice as fast as it was recorded.",
            ),
            OpaqueFunction(function=_name_unknown_arguments),
            GroupAction(
                [
                    SetParameter("use_sim_time", True),
                    IncludeLaunchDescription(PythonLaunchDescriptionSource(grounding)),
                ]
            ),
            OpaqueFunction(function=_start_replay),
        ]
    )


def _start_replay(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The replay, on the node's topics. Opaque, because arguments that were left empty must not be
    passed on."""
    given = context.launch_configurations  # the defaults of the node's arguments stay in its group
    options = [part for n in ("scenario", "out") if given[n] for part in (f"--{n}", given[n])]
    topics = ("image", "depth", "camera_info")
    rules = [f"{n}:={given[f'{n}_topic']}" for n in topics if f"{n}_topic" in given]
    if namespace := given.get("namespace", "").strip("/"):
        rules.append(f"__ns:=/{namespace}")
    options += ["--ros-args", *(part for rule in rules for part in ("-r", rule))]
    replay = ExecuteProcess(
        cmd=[
            FindExecutable(name="python3"),
            "-m",
            "flmm_ros.replay",
            LaunchConfiguration("bag"),
            "--mode",
            "online",
            "--rate",
            LaunchConfiguration("rate"),
            *options,
        ],
        output="screen",
        emulate_tty=True,
    )
    return [
        replay,
        RegisterEventHandler(OnProcessExit(target_action=replay, on_exit=_end)),
    ]


def _name_unknown_arguments(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The launch system takes any argument without a word, also a misspelt one."""
    declared = {*OWN, *launch_arguments.NAMES}
    given = context.launch_configurations
    advice = launch_arguments.unknown_arguments(given, declared, "replay.launch.py", sys.argv)
    return [LogInfo(msg=text) for text in advice]


def _end(event: Any, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Ends everything; the launch fails where the replay did."""
    if event.returncode:
        raise RuntimeError(f"the replay ended with exit status {event.returncode}")
    return [EmitEvent(event=Shutdown(reason="the replay is done"))]
