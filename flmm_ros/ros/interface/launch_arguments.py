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

"""What the launch files can be given: topics, the console, and every parameter of the node.

Free of the launch system, which reads it in launch/grounding.launch.py and the files that include
that. An argument that names a parameter is empty by default: then params_file decides.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flmm_ros.engine.errors import ConfigError
from flmm_ros.ros.interface.parameters import SETTINGS


@dataclass(frozen=True)
class LaunchArgument:
    """One argument of a launch file; choices: empty where any text is allowed."""

    name: str
    default: str
    doc: str
    choices: tuple[str, ...] = ()


_ON_OFF = ("true", "false")
_OF_LAUNCH = (
    LaunchArgument(
        "image_topic",
        "image",
        "Topic of the camera image; with image_transport:=compressed the full name of the "
        "compressed topic, such as /camera/image_raw/compressed.",
    ),
    LaunchArgument(
        "depth_topic",
        "depth",
        "Topic of the depth registered to the image, such as "
        "/camera/aligned_depth_to_color/image_raw; without it there are no 3D targets.",
    ),
    LaunchArgument("camera_info_topic", "camera_info", "Topic of the camera's intrinsics."),
    LaunchArgument("command_topic", "command", "Topic of the sentences, std_msgs/msg/String."),
    LaunchArgument(
        "autostart",
        "true",
        "true: load the model and listen at once; false: wait for a lifecycle manager to configure "
        "and activate the node.",
        _ON_OFF,
    ),
    LaunchArgument(
        "use_sim_time",
        "",
        "true: the clock of the topic /clock, as with a simulator or a replayed bag; empty: as in "
        "params_file.",
        ("", *_ON_OFF),
    ),
    LaunchArgument("namespace", "", "Namespace of the node and of its relative topics."),
    LaunchArgument(
        "log_level",
        "info",
        "Lowest level of the log messages that the node shows.",
        ("debug", "info", "warn", "error", "fatal"),
    ),
    LaunchArgument(
        "console", "false", "true: serve a web page to talk to the node (docs/console.md).", _ON_OFF
    ),
    LaunchArgument(
        "console_host",
        "127.0.0.1",
        "Address the console listens on; all but loopback ask for a token, which the console "
        "prints.",
    ),
    LaunchArgument("console_port", "8642", "Port the console listens on."),
)
_OF_PARAMETERS = tuple(
    LaunchArgument(
        name,
        "",
        f"{setting.doc} Empty: as in params_file.",
        ("", *setting.choices) if setting.choices else (),
    )
    for name, setting in SETTINGS.items()
    if name != "autostart"
)
ARGUMENTS: tuple[LaunchArgument, ...] = (*_OF_LAUNCH, *_OF_PARAMETERS)
PARAMS_FILE = "params_file"  # its default is found by the launch system
NAMES: frozenset[str] = frozenset({PARAMS_FILE, *(argument.name for argument in ARGUMENTS)})


def parameters_of(given: Mapping[str, str]) -> dict[str, Any]:
    """The node's parameters that launch arguments set, in their own types.

    given: all arguments as text; parameters that are empty or missing are left to params_file.

    Raises:
        ConfigError: an argument's text is no value of its parameter.
    """
    found: dict[str, Any] = {}
    for name, text in given.items():
        if name == "use_sim_time" and text:
            found[name] = text == "true"
        if name not in SETTINGS or not text:
            continue
        setting = SETTINGS[name]
        try:
            value = text if setting.kind is str else yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        found[name] = setting.converted(value)
    return found


def unknown_arguments(
    given: Collection[str], declared: Collection[str], file: str, argv: Sequence[str]
) -> list[str]:
    """Advice for every argument that has no effect, most likely misspelt.

    Args:
        given: names of everything that the launch system has a value for.
        declared: names that the file, and those it includes, know.
        file: the launch file that asks. argv: of the process.

    On the command line of this very file every unknown name counts. Where another file includes it,
    the names of that one are there too, and only those that are nearly one of ours count.
    """
    is_on_top = any(Path(part).name == Path(file).name for part in argv)
    typed = {part.partition(":=")[0] for part in argv if ":=" in part}
    advice = []
    for name in sorted(set(given) - set(declared)):
        nearest = difflib.get_close_matches(name, declared, n=1, cutoff=0.8)
        if nearest or (is_on_top and name in typed):
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            advice.append(f"launch argument {name!r} is unknown and has no effect{hint}")
    return advice


__all__ = [
    "ARGUMENTS",
    "NAMES",
    "PARAMS_FILE",
    "ConfigError",
    "LaunchArgument",
    "parameters_of",
    "unknown_arguments",
]
