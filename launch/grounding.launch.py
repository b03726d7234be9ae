"""Starts the grounding node on a robot's camera, and the console where it is wanted.

    ros2 launch flmm_ros grounding.launch.py image_topic:=/camera/color/image_raw
    ros2 launch flmm_ros grounding.launch.py console:=true      # and a web page to talk to it
    ros2 launch flmm_ros grounding.launch.py --show-args

Every parameter of the node can be set in `params_file`. The arguments `model`, `device` and
`image_transport` are shortcuts for three of them: left empty, the file decides.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHORTCUTS = ("model", "device", "image_transport")


def generate_launch_description() -> LaunchDescription:
    """Declares the arguments and starts one node with them."""
    default_params = PathJoinSubstitution(
        [FindPackageShare("flmm_ros"), "config", "grounding.yaml"]
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "image_topic",
                default_value="image",
                description="Topic of the camera image; with image_transport:=compressed the "
                "full name of the compressed topic, such as /camera/image_raw/compressed.",
            ),
            DeclareLaunchArgument(
                "depth_topic",
                default_value="depth",
                description="Topic of the depth registered to the image, such as "
                "/camera/aligned_depth_to_color/image_raw; without it there are no 3D targets.",
            ),
            DeclareLaunchArgument(
                "camera_info_topic",
                default_value="camera_info",
                description="Topic of the camera's intrinsics.",
            ),
            DeclareLaunchArgument(
                "command_topic",
                default_value="command",
                description="Topic of the sentences, std_msgs/msg/String.",
            ),
            DeclareLaunchArgument(
                "image_transport",
                default_value="",
                choices=["", "raw", "compressed"],
                description="raw: sensor_msgs/msg/Image; compressed: "
                "sensor_msgs/msg/CompressedImage; empty: as in params_file.",
            ),
            DeclareLaunchArgument(
                "model",
                default_value="",
                description="Name of a model, a model YAML file, a directory with model.yaml or "
                "with weights, or a hub id owner/name@revision; empty: as in params_file.",
            ),
            DeclareLaunchArgument(
                "device",
                default_value="",
                description="auto, cpu, cuda or cuda:N; empty: as in params_file.",
            ),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                choices=["true", "false"],
                description="true: load the model and listen at once; false: wait for a lifecycle "
                "manager to configure and activate the node.",
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=default_params,
                description="YAML file with the node's parameters.",
            ),
            DeclareLaunchArgument(
                "namespace",
                default_value="",
                description="Namespace of the node and of its relative topics.",
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error", "fatal"],
                description="Lowest level of the log messages that the node shows.",
            ),
            DeclareLaunchArgument(
                "console",
                default_value="false",
                choices=["true", "false"],
                description="true: serve a web page to talk to the node (docs/console.md).",
            ),
            DeclareLaunchArgument(
                "console_host",
                default_value="127.0.0.1",
                description="Address the console listens on; all but loopback ask for a token, "
                "which the console prints.",
            ),
            DeclareLaunchArgument(
                "console_port",
                default_value="8642",
                description="Port the console listens on.",
            ),
            OpaqueFunction(function=_start_node),
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
    """The node. Opaque, because a shortcut that was left empty must not override the file."""
    given = {name: LaunchConfiguration(name).perform(context) for name in SHORTCUTS}
    overrides = {
        name: ParameterValue(value, value_type=str) for name, value in given.items() if value
    }
    autostart = ParameterValue(LaunchConfiguration("autostart"), value_type=bool)
    return [
        LifecycleNode(
            package="flmm_ros",
            executable="grounding_node",
            name="grounding_node",
            namespace=LaunchConfiguration("namespace"),
            parameters=[
                LaunchConfiguration("params_file"),
                {"autostart": autostart, **overrides},
            ],
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
