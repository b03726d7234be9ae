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

"""Why a command gets no answer: a code and a text that says what to do, for everything foreseen."""

from __future__ import annotations

from std_msgs.msg import Header

from flmm_ros.engine.errors import FlmmError
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.worker import Stop, Stopped
from flmm_ros.ros.interface.error_codes import code_of

_STOP_TEXTS = {
    Stop.BUSY: "another command is at work and no more may wait; ask again after its answer, or "
    "see the parameters busy and max_queue",
    Stop.PREEMPTED: "a newer command took the place of this one (parameter busy: preempt)",
    Stop.CANCELED: "cancelled by the client",
    Stop.TIMEOUT: "not done within the time that was given",
    Stop.NOT_ACTIVE: "the node is not active",
}


class Refusal(Exception):
    """A command that gets no answer but a code and a text. header: of the image it was about."""

    def __init__(self, code: int, text: str, header: Header | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.header = code, text, header


def refusal_of(error: Exception, not_active_because: str = "") -> Refusal:
    """The refusal that reports an exception; INTERNAL for anything unforeseen."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Stopped):
        text = _STOP_TEXTS[error.reason]
        if error.reason is Stop.NOT_ACTIVE and not_active_because:
            text = f"{text}: {not_active_because}"
        return Refusal(getattr(GroundedAnswer, error.reason.value), text)
    if isinstance(error, FlmmError):
        return Refusal(code_of(error), str(error))
    if _is_out_of_memory(error):
        first = next(iter(str(error).splitlines()), type(error).__name__)
        return Refusal(
            GroundedAnswer.MODEL_ERROR,
            f"out of memory: {first}; use smaller images, fewer remembered ones (scene_cache), a "
            "smaller model, or quantisation",
        )
    return Refusal(
        GroundedAnswer.INTERNAL,
        f"{type(error).__name__}: {error}; the node's log holds the details",
    )


def _is_out_of_memory(error: Exception) -> bool:
    """An allocation failed, on whatever device. PyTorch raises a RuntimeError that says so; its
    type is not asked for, because programs that only ask load no PyTorch."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text)
    )
