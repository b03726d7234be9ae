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

"""The console's ROS side: a node that asks and listens, for pages that know nothing of ROS.

rclpy runs on a thread of its own; everything that comes from it reaches the pages through
`call_soon_threadsafe` of their event loop. Camera, heat maps and points are subscribed to only
while somebody has a page open: the grounding node draws and sends them only for listeners.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from flmm_ros.action import Ground
from flmm_ros.console.node.frames import Frame, Frames
from flmm_ros.console.node.goal import Goal, Progress, Question
from flmm_ros.msg import GroundedAnswer
from flmm_ros.ros.client.ground_action import GroundAction
from flmm_ros.ros.client.node_thread import NodeThread
from flmm_ros.ros.interface.endpoints import GROUND, GROUNDING, HEATMAP, IMAGE

TEND_PERIOD_S = 0.5
_LINGER_S = 10.0  # a page that is loaded again finds everything still subscribed
_IMAGE_TYPES = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
_MARGIN_S = 10.0  # beyond a command's own timeout: a stage in the model may have to end first
_FAREWELL_S = 0.3  # for the last cancels to leave
_DEPTH, _CLOUDS = 10, 5
_POINTS, _SCENE = "~/target/points", "~/scene/points_without_target"


@dataclass(frozen=True)
class Health:
    """What is known about the node and the camera. `state` is empty where there is no node."""

    state: str
    message: str
    model: str
    is_well: bool
    waiting: int
    image_topic: str
    image_rate_hz: float


class Listener(Protocol):
    """Who is told what happens. Called in the event loop."""

    def on_frame(self, frame: Frame) -> None:
        """The camera has a new image."""
        ...

    def on_grounding(self, msg: GroundedAnswer) -> None:
        """The node has answered, whoever asked."""
        ...

    def on_heat(self, msg: Image) -> None:
        """A picture of what the phrases of one answer looked at."""
        ...

    def on_points(self, msg: PointCloud2) -> None:
        """The points of the target of one answer."""
        ...

    def on_scene(self, msg: PointCloud2) -> None:
        """All other points around a target."""
        ...


class Bridge:
    """Talks to one grounding node. A context manager; leaving it ends its thread and node.

    Args:
        name: the grounding node's name, relative to the console's namespace or absolute.
        listener: told what happens, in `loop`.
    """

    def __init__(
        self, context: Context, loop: asyncio.AbstractEventLoop, listener: Listener, name: str
    ) -> None:
        self.node = Node("console", context=context)
        self._loop, self._listener, self._name = loop, listener, name
        self.frames = Frames()
        self._goals: set[Goal] = set()
        self._watchers = 0
        self._unwatched_s = -_LINGER_S
        self._pages: list[Any] = []  # subscriptions that only exist for pages
        self._image_type = ""
        self._health: tuple[float, Any] = (0.0, None)
        self._action = GroundAction(self.node, self._own(GROUND.name))
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_health, _DEPTH)
        self.node.create_timer(TEND_PERIOD_S, self._tend)
        self._thread = NodeThread(self.node)

    def __enter__(self) -> Bridge:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for goal in list(self._goals):
            goal.cancel()
        if self._goals:
            time.sleep(_FAREWELL_S)
        self._thread.close()
        self._action.destroy()
        self.node.destroy_node()

    # In the event loop.

    def ask(self, question: Question, on_progress: Callable[[Progress], None]) -> Goal:
        """Sends a command; its answer is awaited with `Goal.answer`."""
        goal = Goal(self._loop, self._thread.call, on_progress, self.frames)
        if question.timeout_s > 0:
            goal.deadline_s = time.monotonic() + question.timeout_s + _MARGIN_S
        if not self._action.is_there:
            goal.fail(self._no_node())
            return goal
        request = Ground.Goal(
            command=question.command,
            intent=question.intent,
            chat_id=question.chat_id,
            timeout_s=question.timeout_s,
        )
        self._goals.add(goal)
        goal.when_ended(lambda: self._goals.discard(goal))
        self._thread.call(goal.send, self._action.client, request)
        return goal

    def watch(self) -> None:
        """One more page is open."""
        self._watchers += 1

    def unwatch(self) -> None:
        """A page has closed."""
        self._watchers -= 1
        self._unwatched_s = time.monotonic()

    @property
    def health(self) -> Health:
        """What is known now."""
        came_s, status = self._health
        topic = self.node.resolve_topic_name(IMAGE.name)
        rate_hz = self.frames.rate_hz
        if not self._action.is_there:
            return Health("", self._no_node(), "", False, 0, topic, rate_hz)
        if status is None or time.monotonic() - came_s > 5.0:
            text = "the node is there but has published no diagnostics yet"
            return Health("unknown", text, "", False, 0, topic, rate_hz)
        values = {pair.key: pair.value for pair in status.values}
        waiting = values.get("commands waiting", "0")
        return Health(
            state=values.get("state", "unknown"),
            message=status.message,
            model=values.get("model", ""),
            is_well=status.level == b"\x00" and values.get("state") == "active",
            waiting=int(waiting) if waiting.isdecimal() else 0,
            image_topic=topic,
            image_rate_hz=rate_hz,
        )

    def _own(self, name: str) -> str:
        """A topic or action of the grounding node, `~/x`, from here."""
        return name.replace("~", self._name, 1)

    def _no_node(self) -> str:
        action = self.node.resolve_service_name(self._own(GROUND.name))
        return (
            f"no node serves the action {action}; is the grounding node running, in this "
            "namespace, with the same ROS_DOMAIN_ID?"
        )

    # On the thread of rclpy.

    def _soon(self, call: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop has closed: the console ends
            self._loop.call_soon_threadsafe(call, *arguments)

    def _tend(self) -> None:
        """Subscribes for pages, and ends it; ends the wait for a node that went away."""
        is_watched = self._watchers > 0 or time.monotonic() - self._unwatched_s < _LINGER_S
        if not is_watched and self._pages:
            self._unsubscribe()
        elif is_watched:
            self._subscribe()
        is_gone = bool(self._goals) and not self._action.is_there
        for goal in list(self._goals):
            goal.look()
            if is_gone:
                self._soon(goal.fail, "the grounding node went away before it answered")
            elif time.monotonic() > goal.deadline_s:
                self._soon(goal.fail, "the grounding node is there but silent; see its log")

    def _subscribe(self) -> None:
        """The camera has the type of whoever publishes it: raw or compressed."""
        topic = self.node.resolve_topic_name(IMAGE.name)
        offered = dict(self.node.get_topic_names_and_types()).get(topic, [])
        kind = next((name for name in offered if name in _IMAGE_TYPES), "")
        if self._pages and kind in ("", self._image_type):
            return
        self._unsubscribe()
        self._image_type = kind or "sensor_msgs/msg/Image"
        for type_, name, call, qos in (
            (_IMAGE_TYPES[self._image_type], topic, self._on_image, qos_profile_sensor_data),
            (GroundedAnswer, self._own(GROUNDING.name), self._on_grounding, _DEPTH),
            (Image, self._own(HEATMAP.name), self._on_heat, _DEPTH),
            (PointCloud2, self._own(_POINTS), self._on_points, _CLOUDS),
            (PointCloud2, self._own(_SCENE), self._on_scene, _CLOUDS),
        ):
            self._pages.append(self.node.create_subscription(type_, name, call, qos))

    def _unsubscribe(self) -> None:
        while self._pages:
            self.node.destroy_subscription(self._pages.pop())
        self.frames.clear()

    def _on_image(self, msg: Any) -> None:
        self.frames.put(msg)
        newest = self.frames.newest()
        if newest is not None:
            self._soon(self._listener.on_frame, newest)

    def _on_grounding(self, msg: GroundedAnswer) -> None:
        self._soon(self._listener.on_grounding, msg)

    def _on_heat(self, msg: Image) -> None:
        self._soon(self._listener.on_heat, msg)

    def _on_points(self, msg: PointCloud2) -> None:
        self._soon(self._listener.on_points, msg)

    def _on_scene(self, msg: PointCloud2) -> None:
        self._soon(self._listener.on_scene, msg)

    def _on_health(self, msg: DiagnosticArray) -> None:
        own = self.node.resolve_topic_name(self._name)
        for status in msg.status:
            if status.name.partition(":")[0] == own:
                self._health = (time.monotonic(), status)
