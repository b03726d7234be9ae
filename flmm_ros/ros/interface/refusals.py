"""Why a command gets no answer: a code and a text that says what to do, for everything foreseen.

Does not know about: threads, topics, models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from std_msgs.msg import Header

from flmm_ros.engine.errors import FlmmError
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.worker import Stop, Stopped
from flmm_ros.ros.images.newest_image import ImageMsg

if TYPE_CHECKING:  # a command knows its refusals; for them its fields are enough
    from flmm_ros.ros.commands.command import Command

_STOP_TEXTS = {
    Stop.BUSY: "another command is at work and no more may wait; ask again after its answer, or "
    "see the parameters busy and max_queue",
    Stop.PREEMPTED: "a newer command took the place of this one (parameter busy: preempt)",
    Stop.CANCELED: "cancelled by the client",
    Stop.TIMEOUT: "not done within the time that was given",
    Stop.NOT_ACTIVE: "the node is not active",
}

# Names that the engine's errors carry and that are codes of GroundedAnswer too.
_ENGINE_CODES = ("BAD_COMMAND", "UNKNOWN_WORD", "BAD_IMAGE")


class Refusal(Exception):
    """A command that gets no answer but a code and a text; `image` is the one it was about."""

    def __init__(self, code: int, text: str, image: ImageMsg | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.image = code, text, image


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


def code_of(error: FlmmError) -> int:
    """The message's number for an engine error; what is not the user's doing is the model's."""
    is_known = error.code in _ENGINE_CODES
    return int(getattr(GroundedAnswer, error.code)) if is_known else GroundedAnswer.MODEL_ERROR


def refusal_to_msg(
    command: Command, refusal: Refusal, *, model: str, max_chars: int
) -> GroundedAnswer:
    """The answer message of a refusal. A far too long command is not sent back in full."""
    header = Header() if refusal.image is None else refusal.image.header
    return GroundedAnswer(
        header=header,
        command_id=command.command_id,
        command=command.text[:max_chars],
        chat_id=command.chat_id,
        model=model,
        image_age_s=-1.0,
        error_code=refusal.code,
        error_text=refusal.text,
    )


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
