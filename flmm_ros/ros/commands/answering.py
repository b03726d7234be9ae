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

"""The work of one command, on the worker's thread: image, engine, targets, message."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.engine.answer import Grounding, Intent
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import Cancelled, FlmmError
from flmm_ros.engine.runtime.scene_cache import SceneMemory
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.answer_message import answer_to_msg
from flmm_ros.ros.commands.chats import Chats, Conversation, Scene
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.commands.image_choice import choose_image
from flmm_ros.ros.commands.job_progress import JobProgress
from flmm_ros.ros.commands.refusals import Refusal
from flmm_ros.ros.commands.worker import Job, Stop, Stopped
from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.interface.error_codes import code_of
from flmm_ros.ros.messages import conversions
from flmm_ros.ros.targets.target_finding import Locator, Space
from flmm_ros.ros.targets.target_messages import add_targets


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

    @property
    def score_threshold(self) -> float:
        """Objects with a lower score are reported absent: the model's own, or what was set."""
        ...

    @property
    def scene_memory(self) -> SceneMemory:
        """Open images and their memory, for diagnostics; asked by any thread."""
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
class Reply:
    """The answer message, and what it was made from (empty for a refusal). score_threshold: the
    one that was in force."""

    msg: GroundedAnswer
    rgb: NDArray[np.uint8] | None = None
    objects: Sequence[Grounding] = ()
    space: Space | None = None
    score_threshold: float = 0.0


def answer_command(
    job: Job[Command],
    engine: Engine,
    newest: NewestImage,
    chats: Chats,
    *,
    now_ns: Callable[[], int],
    max_age_s: float,
    max_chats: int,
    locator: Locator | None = None,
) -> Reply:
    """Does the work of one command. Runs on the worker's thread.

    newest: of the command's camera. chats: the conversations so far. locator: finds objects in
    space; without one the answer is about pixels only.

    Raises:
        Refusal, or anything else that refusals.refusal_of turns into one.
        Stopped: the job was cancelled, preempted, out of time or in the way of a deactivation.
    """
    command, start_s = job.request, time.monotonic()
    header: Header | None = None  # of the image

    def begin() -> Conversation:
        nonlocal header
        image, age_s = choose_image(command, newest, now_ns=now_ns, max_age_s=max_age_s)
        header = image.header
        rgb = conversions.rgb_from_msg(image)
        # Before the work: depth images pass by meanwhile.
        depth = locator.watch(header) if locator else None
        scene = engine.open(rgb)
        return Conversation(scene.chat(), header, scene, age_s, depth)

    try:
        about = chats.get(command.chat_id, begin, max_chats) if command.chat_id else begin()
        header = about.header
        intent = Intent(command.intent) if command.intent else None
        result = about.chat.say(command.text, intent=intent, on_stage=JobProgress(job))
        space = locator.find(result.objects, about.header, about.depth) if locator else None
        job.check()  # a cancel during the last stage still counts
    except Cancelled as error:
        raise Stopped(Stop(str(error))) from error
    except FlmmError as error:
        raise Refusal(code_of(error), str(error), header) from error
    msg = answer_to_msg(result, about.header, about.scene.image.shape[:2])
    msg.command_id, msg.command, msg.chat_id = command.command_id, command.text, command.chat_id
    msg.model, msg.image_age_s = engine.model_name, float(about.age_s)
    if space is not None:
        add_targets(msg, space)
    msg.wait_ms = 1e3 * (start_s - job.submitted_s)
    msg.total_ms = 1e3 * (time.monotonic() - start_s)
    return Reply(msg, about.scene.image, result.objects, space, engine.score_threshold)
