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

"""How the node holds objects: the topic ~/held, the service ~/hold, and which answer is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from flmm_ros.ros.commands.answering import Reply
from flmm_ros.ros.commands.command import Command
from flmm_ros.ros.hold.object_follower import FollowerLinks, HoldSettings, ObjectFollower
from flmm_ros.ros.images.newest_image import NewestImage
from flmm_ros.ros.interface import parameters
from flmm_ros.ros.interface.endpoints import HELD, HOLD
from flmm_ros.ros.interface.node_config import SpaceConfig
from flmm_ros.ros.targets.target_finding import Locator


class HoldService:
    """Holds the objects of the last answer where that is wanted.

    Args:
        newest: the images of a camera, by name.
        locator: finds a camera's objects in space, fast enough for every image.
        ground: submits a command where the worker is idle; False where it is not.
    """

    def __init__(
        self,
        node: Node,
        newest: Callable[[str], NewestImage],
        locator: Callable[[str], Locator],
        ground: Callable[[Command], bool],
    ) -> None:
        self._node = node
        self._last: tuple[Command, Reply] | None = None
        publisher = node.create_publisher(HELD.type, HELD.name, HELD.depth)
        self._follower = ObjectFollower(
            FollowerLinks(
                newest,
                locator,
                ground,
                publisher.publish,
                self._settings,
                is_heard=lambda: publisher.get_subscription_count() > 0,
            )
        )
        group = MutuallyExclusiveCallbackGroup()
        node.create_service(HOLD.type, HOLD.name, self._on_service, callback_group=group)

    def answered(self, command: Command, reply: Reply) -> None:
        """Every answer passes here; one about an image of the client's own cannot be held."""
        if reply.rgb is None or command.image is not None:
            return
        self._last = (command, reply)
        if self._follower.is_active or parameters.read(self._node, SpaceConfig).hold == "on":
            self._follower.start(command, reply)

    def grounded(self, command: Command, outcome: Reply | Exception) -> None:
        """The end of a command that `ground` took."""
        self._follower.grounded(command, outcome)

    def values(self) -> dict[str, str]:
        """Key-value pairs of a diagnostic status; none while nothing is held."""
        status = self._follower.status
        if not status.is_active:
            return {}
        state = status.trouble or ("following" if status.held else "nothing to follow")
        if not status.is_heard:
            state = "nobody listens to ~/held"
        return {
            "held objects": str(status.held),
            "held objects lost": str(status.lost),
            "hold": state,
        }

    def stop(self) -> None:
        """Lets go, and forgets the last answer."""
        self._last = None
        self._follower.stop()

    def close(self, timeout_s: float) -> None:
        """Ends for good."""
        self._follower.close(timeout_s)

    def _on_service(self, request: Any, response: Any) -> Any:
        last = self._last
        if not request.data:
            self._follower.stop()
            response.success, response.message = True, "let go"
        elif last is None:
            response.success = False
            response.message = "expected an answer about a camera's image first, got none so far"
        else:
            self._follower.start(*last)
            response.success, response.message = True, f"holding the objects of {last[0].text!r}"
        return response

    def _settings(self) -> HoldSettings:
        space = parameters.read(self._node, SpaceConfig)
        return HoldSettings(space.hold_period, space.hold_confidence)
