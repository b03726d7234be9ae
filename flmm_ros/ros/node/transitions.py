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

"""Lifecycle transitions that report their failures: rclpy swallows what their callbacks raise."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from rclpy.lifecycle import TransitionCallbackReturn

from flmm_ros.engine.errors import FlmmError

ERROR_PROCESSING = "error processing"


class Reporting(Protocol):
    """What a node offers for its transitions."""

    def transition_succeeded(self) -> None:
        """The reason of an earlier failure holds no longer."""
        ...

    def transition_failed(self, transition: str, reason: str) -> None:
        """Notes why, for the log, diagnostics and refusals."""
        ...

    def get_logger(self) -> Any:
        """The node's logger."""
        ...


NodeT = TypeVar("NodeT", bound=Reporting)
P = ParamSpec("P")
Callback = Callable[Concatenate[NodeT, P], TransitionCallbackReturn]


def reported(
    transition: str, if_it_raises: TransitionCallbackReturn
) -> Callable[[Callback[NodeT, P]], Callback[NodeT, P]]:
    """Decorates a transition's callback: whatever it raises, also a library's SystemExit, becomes
    a reason that the node tells, and `if_it_raises` decides the state that follows."""

    def decorate(callback: Callback[NodeT, P]) -> Callback[NodeT, P]:
        @functools.wraps(callback)
        def guarded(node: NodeT, /, *args: P.args, **kwargs: P.kwargs) -> TransitionCallbackReturn:
            try:
                done = callback(node, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - reported; a callback must return
                reason = str(error)
                if not isinstance(error, FlmmError):
                    reason = f"{type(error).__name__}: {error}"
                    node.get_logger().error(traceback.format_exc())
                node.transition_failed(transition, reason)
                return if_it_raises
            is_well = done == TransitionCallbackReturn.SUCCESS
            if is_well and transition != ERROR_PROCESSING:  # then the reason is why it came to it
                node.transition_succeeded()
            return done

        return guarded

    return decorate


def run_all(*steps: Callable[[], object]) -> None:
    """Every step, also after one that raises; then raises the first of what they raised."""
    errors: list[BaseException] = []
    for step in steps:
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)
    if errors:
        raise errors[0]
