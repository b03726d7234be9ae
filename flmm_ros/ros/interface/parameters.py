"""ROS parameters, declared once: from the engine's GrounderConfig and TargetConfig, and from
NodeConfig and SpaceConfig below.

Default, type, description, range and choices stand on the dataclass fields and nowhere else; ROS
descriptors, the refusal of bad values and the table in docs/interfaces.md come from there. Live
parameters hold from the next command on; the others are read by `configure` and can only be changed
while the node is unconfigured. Does not know about: topics, models, what a parameter does.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
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
from flmm_ros.engine.targets.settings import TargetConfig

ConfigT = TypeVar("ConfigT", "NodeConfig", "SpaceConfig", GrounderConfig, TargetConfig)


def _setting(
    default: Any,
    doc: str,
    *,
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    is_live: bool = False,
) -> Any:
    metadata = {"doc": doc, "bounds": bounds, "choices": choices, "live": is_live}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class NodeConfig:
    """What the node does around the engine."""

    image_transport: str = _setting(
        "raw",
        "Type of the image topic: sensor_msgs/Image or sensor_msgs/CompressedImage (JPEG, PNG).",
        choices=("raw", "compressed"),
    )
    image_qos: str = _setting(
        "auto",
        "Reliability of the image subscription. sensor_data is best effort and matches every "
        "publisher; auto is reliable while all publishers are, and follows them.",
        choices=("auto", "sensor_data", "reliable"),
    )
    cameras: str = _setting(
        "",
        "Further cameras, names separated by commas: each has a topic NAME/image, and goals choose "
        "one by name. All share the loaded model.",
    )
    max_image_age: float = _setting(
        0.0,
        "Seconds. A command whose newest image is older than this when its work starts is refused "
        "(stamp against the node's clock; arrival where the stamp is 0). 0 = no limit.",
        bounds=(0.0, 86400.0),
        is_live=True,
    )
    busy: str = _setting(
        "queue",
        "A command comes while another is at work: queue lets it wait, preempt stops everything "
        "older, reject refuses it.",
        choices=("queue", "preempt", "reject"),
        is_live=True,
    )
    max_queue: int = _setting(
        8,
        "Commands that may wait where busy is queue; further ones are refused.",
        bounds=(0, 1000),
        is_live=True,
    )
    command_timeout: float = _setting(
        0.0,
        "Seconds from arrival to answer for commands of the topic and for goals with timeout_s 0. "
        "0 = no limit.",
        bounds=(0.0, 86400.0),
        is_live=True,
    )
    max_chats: int = _setting(
        4,
        "Conversations that are remembered, each with its image; the longest silent goes first.",
        bounds=(1, 1000),
        is_live=True,
    )
    publish_overlay: bool = _setting(
        True,
        "Draw ~/overlay and ~/heatmap; they cost nothing while nobody subscribes to them.",
        is_live=True,
    )
    warm_up: bool = _setting(
        True,
        "Configure answers a command about a grey picture after loading, so that the first real "
        "one is not slower than the next. A failure is one of configure.",
    )
    autostart: bool = _setting(
        False,
        "Configure and activate at start, without a lifecycle manager. A failed configure is "
        "logged and leaves the node unconfigured.",
    )


@dataclass(frozen=True)
class SpaceConfig:
    """What the node does about depth, frames, and objects that are held in view."""

    depth: str = _setting(
        "auto",
        "auto: listen to depth and camera_info of every camera, and find targets where they come. "
        "off: 2D only.",
        choices=("auto", "off"),
    )
    depth_transport: str = _setting(
        "raw",
        "Type of the depth topic: sensor_msgs/Image (16UC1 millimetres, 32FC1 metres), or "
        "sensor_msgs/CompressedImage as the transport compressedDepth sends it.",
        choices=("raw", "compressed"),
    )
    depth_tolerance: float = _setting(
        0.05,
        "Seconds between the stamps of an image and of its depth and camera_info, at most.",
        bounds=(0.0, 10.0),
        is_live=True,
    )
    rectified: bool = _setting(
        True,
        "The image is rectified: P of camera_info counts. false: K and the distortion d do.",
        is_live=True,
    )
    target_frame: str = _setting(
        "",
        "Frame of everything in metres, through tf2 at the image's stamp; its z axis is taken to "
        "point up. Empty: the image's own frame.",
        is_live=True,
    )
    tf_timeout: float = _setting(
        0.2, "Seconds to wait for that transform.", bounds=(0.0, 10.0), is_live=True
    )
    hold: str = _setting(
        "off",
        "on: after each answer follow its objects at camera rate and publish them on ~/held, until "
        "a new answer. The service ~/hold does the same once.",
        choices=("off", "on"),
        is_live=True,
    )
    hold_period: float = _setting(
        5.0,
        "Seconds after which held objects are grounded again, so that no error grows. 0 = only "
        "when one is lost.",
        bounds=(0.0, 3600.0),
        is_live=True,
    )
    hold_confidence: float = _setting(
        0.35,
        "A held object whose confidence falls below this is lost, and is grounded again.",
        bounds=(0.0, 1.0),
        is_live=True,
    )


@dataclass(frozen=True)
class Setting:
    """One parameter, as its dataclass field describes it."""

    name: str
    default: Any
    doc: str
    bounds: tuple[float, float] | None
    choices: tuple[str, ...]
    is_live: bool

    def meant(self, value: Any) -> Any:
        """The value as it was written: to YAML, and so to `-p hold:=on`, the words on and off are
        truth values."""
        word = {"True": "on", "False": "off"}[str(value)] if type(value) is bool else ""
        return word if word in self.choices else value

    def refusal(self, value: Any) -> str | None:
        """Why `value` cannot be used, or None."""
        kind, value = type(self.default), self.meant(value)
        if type(value) is not kind and not (kind is float and type(value) is int):
            return f"{self.name}: expected {kind.__name__}, got {type(value).__name__} {value!r}"
        if self.choices and value not in self.choices:
            return f"{self.name}: expected one of {', '.join(self.choices)}, got {value!r}"
        if self.bounds is not None and not self.bounds[0] <= value <= self.bounds[1]:
            low, high = self.bounds
            return f"{self.name}: expected a value in {low:g}..{high:g}, got {value:g}"
        return None

    def descriptor(self) -> ParameterDescriptor:
        """What `ros2 param describe` shows."""
        when = "Holds from the next command on." if self.is_live else "Read by configure."
        descriptor = ParameterDescriptor(name=self.name, description=f"{self.doc} {when}")
        # `refusal` checks the type instead of ROS, which would refuse `max_image_age:=5` for not
        # being 5.0 and says "expected '2' got '4'".
        descriptor.dynamic_typing = True
        if self.choices:
            descriptor.additional_constraints = f"one of: {', '.join(self.choices)}"
        if self.bounds is not None and isinstance(self.default, float):
            low, high = map(float, self.bounds)
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.bounds is not None:
            low, high = map(int, self.bounds)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        return descriptor


def settings_of(
    config: type[NodeConfig | SpaceConfig | GrounderConfig | TargetConfig],
) -> tuple[Setting, ...]:
    """The parameters a configuration dataclass declares."""
    return tuple(
        Setting(
            name=f.name,
            default=f.default,
            doc=f.metadata["doc"],
            bounds=f.metadata.get("bounds"),
            choices=tuple(f.metadata.get("choices") or ()),
            is_live=bool(f.metadata.get("live", False)),
        )
        for f in fields(config)
    )


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for config in (GrounderConfig, TargetConfig, NodeConfig, SpaceConfig)
    for setting in settings_of(config)
}


def declare(node: Node, is_unconfigured: Callable[[], bool]) -> None:
    """Declares every parameter; from then on bad values are refused with the reason.

    Raises:
        rclpy.exceptions.ParameterException: a value given at start has a wrong type or is refused.
    """

    def check(parameters: Sequence[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            reason = _refusal(parameter, is_unconfigured())
            if reason is not None:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    for setting in SETTINGS.values():
        node.declare_parameter(setting.name, setting.default, setting.descriptor())


def strangers(node: Node) -> list[str]:
    """Parameters given at start that nobody declared, most likely misspelt, each with advice."""
    given = set(node._parameter_overrides)  # rclpy has no public way to ask for them
    advice = []
    for name in sorted(given):
        if not node.has_parameter(name) and not name.startswith("qos_overrides."):
            nearest = difflib.get_close_matches(name, SETTINGS, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            advice.append(f"parameter {name!r} is unknown and has no effect{hint}")
    return advice


def _refusal(parameter: Parameter, is_unconfigured: bool) -> str | None:
    setting = SETTINGS.get(parameter.name)
    if setting is None:  # use_sim_time and the like belong to rclpy
        return None
    if not setting.is_live and not is_unconfigured:
        return (
            f"{setting.name} is read by configure and the node is configured; "
            "deactivate and clean up first"
        )
    return setting.refusal(parameter.value)


def read(node: Node, config: type[ConfigT]) -> ConfigT:
    """The present values as a configuration dataclass."""
    values = {
        f.name: SETTINGS[f.name].meant(node.get_parameter(f.name).value) for f in fields(config)
    }
    floats = {f.name: float(values[f.name]) for f in fields(config) if type(f.default) is float}
    return config(**{**values, **floats})
