"""Every topic and action of the node, declared once: the node creates them from here and the tables
in docs/interfaces.md are made from here. Does not know about: who uses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image
from std_msgs.msg import String

from flmm_ros.action import Ground
from flmm_ros.msg import GroundedAnswer


@dataclass(frozen=True)
class Endpoint:
    """A name (relative, `~/` = under the node's name), its message type, history depth, meaning."""

    name: str
    type: Any
    depth: int
    doc: str


IMAGE = Endpoint(
    "image",
    Image,
    1,
    "Camera. sensor_msgs/CompressedImage where image_transport is compressed. Only subscribed "
    "while the node is active; newest frame wins.",
)
COMMAND = Endpoint("command", String, 10, "A sentence about the newest image.")
GROUNDING = Endpoint(
    "~/grounding",
    GroundedAnswer,
    10,
    "The whole answer; exactly one for every command and every goal, refusals included.",
)
ANSWER = Endpoint("~/answer", String, 10, "The answer's text, or why there is none: to be spoken.")
MASK = Endpoint("~/mask", Image, 5, "Label image of the answer, mono8 (mono16 above 254 objects).")
OVERLAY = Endpoint(
    "~/overlay",
    Image,
    5,
    "rgb8: the image with masks, phrases and scores. Only drawn while somebody subscribes.",
)
HEATMAP = Endpoint(
    "~/heatmap",
    Image,
    5,
    "rgb8, one picture a phrase, one under another: what its words look at. Only drawn while "
    "somebody subscribes.",
)
DIAGNOSTICS = Endpoint(
    "/diagnostics",
    DiagnosticArray,
    10,
    "Once a second: state, model, images, commands by error code, last times.",
)
GROUND = Endpoint(
    "~/ground",
    Ground,
    0,
    "One command with feedback and cancel, about the newest image or one of its own.",
)

INPUTS = (IMAGE, COMMAND)
OUTPUTS = (GROUNDING, ANSWER, MASK, OVERLAY, HEATMAP, DIAGNOSTICS)
ACTIONS = (GROUND,)
