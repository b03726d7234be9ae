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

"""The errors of the engine: each has a code, and says what was expected, what came, what to do."""

from __future__ import annotations


class FlmmError(Exception):
    """Something the user can act on. The message says what was expected, what came, what to do."""

    code = "INTERNAL"


class ConfigError(FlmmError):
    """A configuration value, key or file that cannot be used."""

    code = "CONFIG"


class CheckpointError(FlmmError):
    """Weights that do not fit the model, or are missing, truncated or corrupt."""

    code = "CHECKPOINT"


class PromptError(FlmmError):
    """A command or phrase that cannot be read: empty, too long, or not language."""

    code = "BAD_COMMAND"


class UnknownWordError(PromptError):
    """Words the language model has no token for; `words` names them as the user wrote them."""

    code = "UNKNOWN_WORD"

    def __init__(self, message: str, words: tuple[str, ...]) -> None:
        super().__init__(message)
        self.words = words


class ImageError(FlmmError):
    """An image that is not RGB uint8 [H, W, 3], too small to look at, or too large."""

    code = "BAD_IMAGE"


class TargetError(FlmmError):
    """Depth or intrinsics that cannot be used, or too little of them; the masks stay valid."""

    code = "NO_DEPTH"


class Cancelled(FlmmError):
    """Raised by a progress callback to stop between two stages or two generated tokens."""

    code = "CANCELED"
