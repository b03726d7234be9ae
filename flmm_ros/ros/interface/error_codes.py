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

"""The error codes of GroundedAnswer by name, and which of them an error of the engine has."""

from __future__ import annotations

from flmm_ros.engine.errors import FlmmError
from flmm_ros.msg import GroundedAnswer

# Names that the engine's errors carry and that are codes of GroundedAnswer too.
_ENGINE_CODES = ("BAD_COMMAND", "UNKNOWN_WORD", "BAD_IMAGE")


def code_of(error: FlmmError) -> int:
    """The message's number for an engine error; what is not the user's doing is the model's."""
    is_known = error.code in _ENGINE_CODES
    return int(getattr(GroundedAnswer, error.code)) if is_known else GroundedAnswer.MODEL_ERROR


def code_name(code: int) -> str:
    """The constant's name: 10 -> "NO_IMAGE"."""
    return CODE_NAMES.get(code, str(code))


CODE_NAMES: dict[int, str] = {
    GroundedAnswer.OK: "OK",
    GroundedAnswer.EMPTY_COMMAND: "EMPTY_COMMAND",
    GroundedAnswer.COMMAND_TOO_LONG: "COMMAND_TOO_LONG",
    GroundedAnswer.BAD_COMMAND: "BAD_COMMAND",
    GroundedAnswer.UNKNOWN_WORD: "UNKNOWN_WORD",
    GroundedAnswer.BAD_INTENT: "BAD_INTENT",
    GroundedAnswer.BAD_CAMERA: "BAD_CAMERA",
    GroundedAnswer.PROHIBITION: "PROHIBITION",
    GroundedAnswer.NO_IMAGE: "NO_IMAGE",
    GroundedAnswer.IMAGE_TOO_OLD: "IMAGE_TOO_OLD",
    GroundedAnswer.BAD_IMAGE: "BAD_IMAGE",
    GroundedAnswer.NOT_ACTIVE: "NOT_ACTIVE",
    GroundedAnswer.BUSY: "BUSY",
    GroundedAnswer.PREEMPTED: "PREEMPTED",
    GroundedAnswer.CANCELED: "CANCELED",
    GroundedAnswer.TIMEOUT: "TIMEOUT",
    GroundedAnswer.MODEL_ERROR: "MODEL_ERROR",
    GroundedAnswer.INTERNAL: "INTERNAL",
    GroundedAnswer.NO_DEPTH: "NO_DEPTH",
    GroundedAnswer.TF_ERROR: "TF_ERROR",
}
