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

"""ROS parameters, declared once from the settings dataclasses of engine and node.

A value is refused when it is set, with the reason. One that is written differently, such as 5 for
5.0 or YAML's truth value for the word `on`, is kept in the parameter's own type, so that this never
changes. Live parameters hold from the next command on; the others are read by `configure` and can
only be changed while the node is unconfigured.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.config.schema import Setting, settings_of
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.ros.interface.camera_names import require_topics
from flmm_ros.ros.interface.node_config import NodeConfig, SpaceConfig

ConfigT = TypeVar("ConfigT", NodeConfig, SpaceConfig, GrounderConfig, TargetConfig)

SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for config in (GrounderConfig, TargetConfig, NodeConfig, SpaceConfig)
    for setting in settings_of(config)
}


def descriptor_of(setting: Setting) -> ParameterDescriptor:
    """What `ros2 param describe` shows."""
    when = "Holds from the next command on." if setting.live else "Read by configure."
    descriptor = ParameterDescriptor(name=setting.name, description=f"{setting.doc} {when}")
    # The type is checked here instead of by ROS, which would refuse `max_image_age:=5` for not
    # being 5.0 and says "expected '2' got '4'".
    descriptor.dynamic_typing = True
    if setting.choices:
        descriptor.additional_constraints = f"one of: {', '.join(setting.choices)}"
    if setting.bounds is not None and setting.kind is float:
        low, high = map(float, setting.bounds)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif setting.bounds is not None:
        low, high = map(int, setting.bounds)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


def declare(node: Node, is_unconfigured: Callable[[], bool]) -> None:
    """Declares every parameter; from then on bad values are refused with the reason.

    Raises:
        rclpy.exceptions.ParameterException: a value given at start has a wrong type or is refused.
    """

    def check(parameters: list[Parameter[Any]]) -> SetParametersResult:
        for number, parameter in enumerate(parameters):
            if parameter.name not in SETTINGS:  # use_sim_time and the like belong to rclpy
                continue
            try:
                value = _checked(node, parameter, is_unconfigured())
            except ConfigError as error:
                return SetParametersResult(successful=False, reason=str(error))
            # rclpy stores what stands in the list, on all distributions, also while it declares.
            parameters[number] = Parameter(parameter.name, value=value)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    for setting in SETTINGS.values():
        node.declare_parameter(setting.name, setting.default, descriptor_of(setting))


def _checked(node: Node, parameter: Parameter[Any], is_unconfigured: bool) -> Any:
    """The value in the setting's own type. Raises ConfigError where it cannot be used."""
    setting = SETTINGS[parameter.name]
    value = setting.converted(parameter.value)
    if setting.name == "cameras":
        require_topics(node, value)
    if setting.name == "target_frame":
        _require_frame(value)
    if setting.live or is_unconfigured or value == node.get_parameter(setting.name).value:
        return value
    raise ConfigError(
        f"{setting.name} is read by configure and the node is configured; deactivate and clean up "
        "first"
    )


def _require_frame(frame: str) -> None:
    """Refuses what tf2 takes for no frame."""
    if frame.startswith("/") or re.search(r"\s", frame):
        raise ConfigError(
            "target_frame: expected a frame's name without a / in front and without blanks, such "
            f"as base_link, got {frame!r}"
        )


def unknown_parameters(node: Node) -> list[str]:
    """Parameters given at start that nobody declared, most likely misspelt, each with advice."""
    given = set(node._parameter_overrides)  # rclpy has no public way to ask for them
    advice = []
    for name in sorted(given):
        if not node.has_parameter(name) and not name.startswith("qos_overrides."):
            nearest = difflib.get_close_matches(name, SETTINGS, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            advice.append(f"parameter {name!r} is unknown and has no effect{hint}")
    return advice


def read(node: Node, config: type[ConfigT]) -> ConfigT:
    """The present values as a configuration dataclass."""
    return config(**{s.name: node.get_parameter(s.name).value for s in settings_of(config)})
