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

from flmm_ros.engine.answer import Answer, Grounding, Intent
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import Cancelled, FlmmError
from flmm_ros.engine.progress import Progress
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.chats import Chat, Chats, Conversation
from flmm_ros.ros.commands.worker import Job, Stop, Stopped
from flmm_ros.ros.images.newest_image import ImageMsg, NewestImage
from flmm_ros.ros.interface.refusals import Refusal, code_of
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.targets.target_messages import add_targets

if TYPE_CHECKING:  # programs that only ask load none of what finds targets
    from flmm_ros.ros.targets.target_finding import Locator, Space

INTENTS: tuple[str, ...] = tuple(intent.value for intent in Intent)


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

    def warm_up(self) -> None:
        """Takes what the first command would take, of time and of memory."""
        ...

    def update(self, config: GrounderConfig) -> None:
        """Takes over the settings that may change while the model is loaded."""
        ...

    def close(self) -> None:
        """Frees the model."""
        ...


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
        raise Refusal(code_of(error), str(error), image) from error
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
