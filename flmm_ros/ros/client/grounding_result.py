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

"""The node's answer in numpy, for robot programs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.msg import GroundedAnswer, GroundedObject
from flmm_ros.ros.interface.error_codes import code_name
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.messages.found_target import FoundTarget, target_from_msg


@dataclass(frozen=True)
class FoundObject:
    """One phrase and its pixels; mask bool [H, W], box with far edges exclusive. `target` is the
    object in space, None where it has none: see `GroundingResult.target_error`."""

    phrase: str
    score: float
    is_present: bool
    is_ambiguous: bool  # one of several that the phrase fits: ask which one is meant
    label: int
    box_xyxy_px: tuple[int, int, int, int]
    center_xy_px: tuple[float, float]
    text_span: tuple[int, int]
    mask: NDArray[np.bool_]
    target: FoundTarget | None = None
    track_id: int = 0
    track_confidence: float = 0.0


@dataclass(frozen=True)
class GroundingResult:
    """The node's answer in numpy.

    error: "OK" or the name of a code of GroundedAnswer, with `error_text` saying what to do.
    labels: [H, W], 0 = background, otherwise an object's label; [0, 0] for a refusal.
    target_error: "OK", NO_DEPTH or TF_ERROR: why objects lack a target, `target_text` what to do.
    """

    command: str
    intent: str
    text: str
    objects: tuple[FoundObject, ...]
    labels: NDArray[np.uint8] | NDArray[np.uint16]
    error: str
    error_text: str
    timings_ms: dict[str, float]
    image_age_s: float
    header: Header
    target_error: str = "OK"
    target_text: str = ""

    @property
    def is_ok(self) -> bool:
        """The command was answered."""
        return self.error == "OK"

    @property
    def is_ambiguous(self) -> bool:
        """A phrase fits several things: the answer asks which one is meant."""
        return any(o.is_ambiguous for o in self.objects)

    @property
    def present(self) -> tuple[FoundObject, ...]:
        """The objects the model sees."""
        return tuple(o for o in self.objects if o.is_present)


def result_from_msg(msg: GroundedAnswer) -> GroundingResult:
    """A message of ~/grounding or of the action, for a program."""
    size = (msg.mask.height, msg.mask.width)
    dtype = "<u2" if msg.mask.encoding == "mono16" else np.uint8
    labels = np.frombuffer(msg.mask.data, dtype).reshape(size)
    return GroundingResult(
        command=msg.command,
        intent=msg.intent,
        text=msg.answer,
        objects=tuple(_object_from_msg(o, size, msg.target_frame) for o in msg.objects),
        labels=labels,
        error=code_name(msg.error_code),
        error_text=msg.error_text,
        timings_ms={
            **dict(zip(msg.stages, msg.stage_ms, strict=True)),
            "total": msg.total_ms,
        },
        image_age_s=msg.image_age_s,
        header=msg.header,
        target_error=code_name(msg.target_code),
        target_text=msg.target_text,
    )


def _object_from_msg(
    msg: GroundedObject, size_hw: tuple[int, int], target_frame: str
) -> FoundObject:
    return FoundObject(
        phrase=msg.phrase,
        score=msg.score,
        is_present=msg.is_present,
        is_ambiguous=msg.is_ambiguous,
        label=msg.label,
        box_xyxy_px=(msg.x_min_px, msg.y_min_px, msg.x_max_px, msg.y_max_px),
        center_xy_px=(msg.center_x_px, msg.center_y_px),
        text_span=(msg.text_start, msg.text_end),
        mask=conversions.mask_from_runs(msg.mask_runs, size_hw),
        target=target_from_msg(msg, target_frame),
        track_id=msg.track_id,
        track_confidence=msg.track_confidence,
    )
