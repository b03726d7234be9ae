"""One command from its text to its GroundedAnswer: checks, image, engine, message.

Everything that can be wrong with a command or an image becomes a refusal with a code and a readable
text; the node only wires this to topics. Does not know about: topics, threads, the action server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.types import (
    Answer,
    Cancelled,
    FlmmError,
    Grounding,
    Intent,
    Progress,
)
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros import conversions
from flmm_ros.ros.chats import Chat, Chats, Conversation
from flmm_ros.ros.newest_image import ImageMsg, NewestImage
from flmm_ros.ros.target_messages import add_targets
from flmm_ros.ros.worker import Job, Stop, Stopped

if TYPE_CHECKING:  # programs that only ask load none of what finds targets
    from flmm_ros.ros.target_finding import Locator, Space

INTENTS: tuple[str, ...] = tuple(intent.value for intent in Intent)

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


class Scene(Protocol):
    """What the engine offers for one image."""

    def chat(self) -> Chat:
        """A conversation about the image."""
        ...


class Engine(Protocol):
    """What the node needs of the engine's Grounder."""

    @property
    def model_name(self) -> str:
        """For logs and messages."""
        ...

    def open(self, image: NDArray[np.uint8]) -> Scene:
        """RGB uint8 [H, W, 3] -> the scene to ask about."""
        ...

    @property
    def backend(self) -> str:
        """What runs the heads, for diagnostics."""
        ...

    def update(self, config: GrounderConfig) -> None:
        """Takes over the settings that may change while the model is loaded."""
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


class Refusal(Exception):
    """A command that gets no answer but a code and a text; `image` is the one it was about."""

    def __init__(self, code: int, text: str, image: ImageMsg | None = None) -> None:
        super().__init__(text)
        self.code, self.text, self.image = code, text, image


@dataclass(frozen=True)
class Command:
    """A sentence from the topic or the action, as it came."""

    command_id: str
    text: str
    intent: str = ""
    image: ImageMsg | None = None  # None: the newest one of the camera
    camera: str = ""  # empty: the image topic
    chat_id: str = ""  # empty: on its own
    is_own: bool = False  # of the node itself, to ground held objects again: nobody is answered
    on_progress: Callable[[str, str], None] = lambda stage, partial_text: None
    on_done: Callable[[GroundedAnswer], None] = lambda msg: None


@dataclass(frozen=True)
class Reply:
    """The answer message, and what it was made from (empty for a refusal)."""

    msg: GroundedAnswer
    rgb: NDArray[np.uint8] | None = None
    objects: Sequence[Grounding] = ()
    space: Space | None = None


def check_command(command: Command, max_chars: int, cameras: Collection[str]) -> None:
    """What can be refused without a model and without waiting.

    Raises:
        Refusal: empty or too long text, an unknown intent or camera.
    """
    if not command.text.strip():
        raise Refusal(
            GroundedAnswer.EMPTY_COMMAND,
            "expected a sentence such as 'pick up the red mug', got an empty command",
        )
    if len(command.text) > max_chars:
        raise Refusal(
            GroundedAnswer.COMMAND_TOO_LONG,
            f"expected at most {max_chars} characters, got {len(command.text)}; "
            "say it shorter or raise the parameter max_command_chars",
        )
    if command.intent and command.intent not in INTENTS:
        raise Refusal(
            GroundedAnswer.BAD_INTENT,
            f"expected one of {', '.join(INTENTS)} or nothing, got {command.intent!r}",
        )
    if command.camera not in cameras:
        known = ", ".join(name for name in cameras if name) or "none; see the parameter cameras"
        raise Refusal(
            GroundedAnswer.BAD_CAMERA,
            f"expected one of the cameras ({known}) or nothing, got {command.camera!r}",
        )


def choose_image(
    command: Command, newest: NewestImage, *, now_ns: int, max_age_s: float
) -> tuple[ImageMsg, float]:
    """The image a command is about, and its age in seconds.

    An image that came with the command may be of any age, -1: the client chose it.

    Raises:
        Refusal: none has arrived, or the newest is too old.
    """
    if command.image is not None:
        return command.image, -1.0
    received = newest.use()
    if received is None:
        raise Refusal(
            GroundedAnswer.NO_IMAGE,
            "no image has arrived since the node was activated; check that the camera publishes on "
            "the node's image topic (remap image:=...) and the parameter image_transport",
        )
    age_s = received.age_s(now_ns)
    if 0 < max_age_s < age_s:
        raise Refusal(
            GroundedAnswer.IMAGE_TOO_OLD,
            f"expected an image of at most {max_age_s:g} s (parameter max_image_age), the newest "
            f"is {age_s:.3f} s old by the node's clock; is the camera running? with a replayed bag "
            "set use_sim_time",
            received.msg,
        )
    if max_age_s > 0 and age_s < -max_age_s:
        raise Refusal(
            GroundedAnswer.IMAGE_TOO_OLD,
            "expected an image of now (parameter max_image_age), the newest is stamped "
            f"{-age_s:.3f} s in the future of the node's clock: it is from before the clock was "
            "set back, or the clocks of camera and node differ",
            received.msg,
        )
    return received.msg, age_s


class Watch:
    """The engine's progress callback for one job: passes progress on, and ends the work where the
    job should end, also between the layers within a stage (`check`)."""

    def __init__(self, job: Job[Command]) -> None:
        self._job = job

    def __call__(self, progress: Progress) -> None:
        self.check()
        self._job.request.on_progress(progress.stage.value, progress.partial_text)

    def check(self) -> None:
        """Raises Cancelled with the reason's name."""
        reason = self._job.stop_reason()
        if reason is not None:
            raise Cancelled(reason.value)


def answer(
    job: Job[Command],
    engine: Engine,
    newest: NewestImage,
    chats: Chats,
    *,
    now_ns: int,
    max_age_s: float,
    max_chats: int,
    locator: Locator | None = None,
) -> Reply:
    """Does the work of one command. Runs on the worker's thread.

    newest: of the command's camera. chats: the conversations so far. locator: finds objects in
    space; without one the answer is about pixels only.

    Raises:
        Refusal, FlmmError: see `refusal_of`.
        Stopped: the job was cancelled, preempted, out of time or in the way of a deactivation.
    """
    command, start_s = job.request, time.monotonic()
    image: ImageMsg | None = None

    def begin() -> Conversation:
        nonlocal image
        image, age_s = choose_image(command, newest, now_ns=now_ns, max_age_s=max_age_s)
        rgb = conversions.rgb_from_msg(image)
        # Before the work: depth images pass by meanwhile.
        depth = locator.watch(image.header) if locator else None
        return Conversation(engine.open(rgb).chat(), image, rgb, age_s, depth)

    try:
        about = chats.get(command.chat_id, begin, max_chats) if command.chat_id else begin()
        image = about.image
        intent = Intent(command.intent) if command.intent else None
        result = about.chat.say(command.text, intent=intent, on_stage=Watch(job))
        space = locator.find(result.objects, image.header, about.depth) if locator else None
        job.check()  # a cancel during the last stage still counts
    except Cancelled as error:
        raise Stopped(Stop(str(error))) from error
    except FlmmError as error:
        raise Refusal(_code_of(error), str(error), image) from error
    msg = answer_to_msg(result, about.image.header, about.rgb.shape[:2])
    msg.command_id, msg.command, msg.chat_id = command.command_id, command.text, command.chat_id
    msg.model, msg.image_age_s = engine.model_name, float(about.age_s)
    if space is not None:
        add_targets(msg, space)
    msg.wait_ms = 1e3 * (start_s - job.submitted_s)
    msg.total_ms = 1e3 * (time.monotonic() - start_s)
    return Reply(msg, about.rgb, result.objects, space)


def answer_to_msg(result: Answer, header: Header, size_hw: tuple[int, ...]) -> GroundedAnswer:
    """The engine's part of the message."""
    labels = conversions.labels_of(result.objects)
    stages, stage_ms = conversions.stage_times(result.timings_ms)
    size = (size_hw[0], size_hw[1])
    return GroundedAnswer(
        header=header,
        intent=result.intent.value,
        answer=result.text,
        objects=[
            conversions.object_to_msg(grounding, label)
            for grounding, label in zip(result.objects, labels, strict=True)
        ],
        mask=conversions.image_to_msg(conversions.label_image(result.objects, size), header),
        stages=stages,
        stage_ms=stage_ms,
        error_code=GroundedAnswer.OK,
    )


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
        return Refusal(_code_of(error), str(error))
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


def _code_of(error: FlmmError) -> int:
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
