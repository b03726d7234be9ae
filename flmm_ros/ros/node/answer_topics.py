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

"""Publishes an answer: the whole of it, its text, its masks, and pictures for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from std_msgs.msg import String

from flmm_ros.engine.masks.overlay import draw_heatmaps, draw_overlay
from flmm_ros.ros.commands.answering import Reply
from flmm_ros.ros.interface import endpoints
from flmm_ros.ros.messages import conversions


class AnswerTopics:
    """The publishers of ~/grounding, ~/answer, ~/mask, ~/overlay and ~/heatmap."""

    def __init__(self, node: Node) -> None:
        def publisher(endpoint: endpoints.Endpoint) -> Any:
            return node.create_publisher(endpoint.type, endpoint.name, endpoint.depth)

        self._grounding = publisher(endpoints.GROUNDING)
        self._answer = publisher(endpoints.ANSWER)
        self._mask = publisher(endpoints.MASK)
        self._overlay = publisher(endpoints.OVERLAY)
        self._heatmap = publisher(endpoints.HEATMAP)

    def publish(self, reply: Reply) -> None:
        """What programs need; refusals too, which have no mask."""
        msg = reply.msg
        self._grounding.publish(msg)
        self._answer.publish(String(data=msg.answer or msg.error_text))
        if reply.rgb is not None:
            self._mask.publish(msg.mask)

    def draw(self, reply: Reply) -> None:
        """What people look at."""
        if reply.rgb is not None:
            self._draw(self._overlay, draw_overlay, reply)
            self._draw(self._heatmap, draw_heatmaps, reply)

    def _draw(self, publisher: Any, draw: Callable[..., Any], reply: Reply) -> None:
        """A picture, only made where somebody looks and there is something to see."""
        if publisher.get_subscription_count() > 0 and (reply.objects or draw is draw_overlay):
            drawn = draw(reply.rgb, reply.objects)
            publisher.publish(conversions.image_to_msg(drawn, reply.msg.header))
