"""Starts a simulated arm with its camera, and the grounding node that looks through that.

ros2 launch flmm_ros grasp.launch.py seed:=2000106
python3 -m examples.grasping.robot put the orange bunny to the left of the blue mug
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Declares the world's argument; those of grounding.launch.py can be given too."""
    grounding = PathJoinSubstitution(
        [FindPackageShare("flmm_ros"), "launch", "grounding.launch.py"]
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "seed",
                default_value="2000106",
                description="Which things lie there; later: ros2 param set /grasp_world seed N.",
            ),
            Node(
                package="flmm_ros",
                executable="simulated_arm",
                name="grasp_world",
                parameters=[{"seed": ParameterValue(LaunchConfiguration("seed"), value_type=int)}],
                output="screen",
                emulate_tty=True,
            ),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(grounding)),
        ]
    )
