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

"""Which image a command is about, and whether that may be used."""

from __future__ import annotations

from collections.abc import Callable

from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.commands.refusals import Refusal
from flmm_ros.ros.images.newest_image import ImageMsg, NewestImage


def choose_image(
    command: Command, newest: NewestImage, *, now_ns: Callable[[], int], max_age_s: float
) -> tuple[ImageMsg, float]:
    """The image a command is about, and its age in seconds.

    An image that came with the command may be of any age, -1: the client chose it. now_ns: reads
    the node's clock, after the image was chosen: one that has just come is not from the future.

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
    age_s = received.age_s(now_ns())
    if 0 < max_age_s < age_s:
        raise Refusal(
            GroundedAnswer.IMAGE_TOO_OLD,
            f"expected an image of at most {max_age_s:g} s (parameter max_image_age), the newest "
            f"is {age_s:.3f} s old by the node's clock; is the camera running? with a replayed bag "
            "set use_sim_time",
            received.msg.header,
        )
    if max_age_s > 0 and age_s < -max_age_s:
        raise Refusal(
            GroundedAnswer.IMAGE_TOO_OLD,
            "expected an image of now (parameter max_image_age), the newest is stamped "
            f"{-age_s:.3f} s in the future of the node's clock: it is from before the clock was "
            "set back, or the clocks of camera and node differ",
            received.msg.header,
        )
    return received.msg, age_s
