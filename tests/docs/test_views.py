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

"""The views for RViz and Foxglove show topics that the node has, with the types it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")

from flmm_ros.ros.interface import endpoints

CONFIG = Path(__file__).parents[2] / "config"
ALL = {*endpoints.INPUTS, *endpoints.OUTPUTS}
TYPES = {e.name.replace("~/", "/grounding_node/"): e.type.__name__ for e in ALL}
TYPES |= {f"/{name}": kind for name, kind in TYPES.items() if not name.startswith("/")}


def foxglove_topics(panels: dict[str, Any]) -> set[str]:
    """Every topic that a panel of the layout names."""
    found = set()
    for panel in panels.values():
        found |= {panel.get(key) for key in ("topicPath", "topicName", "topicToRender")}
        found |= {panel.get("imageMode", {}).get("imageTopic"), *panel.get("topics", {})}
    return {topic for topic in found if topic}


def panels_in(layout: Any) -> set[str]:
    if isinstance(layout, str):
        return {layout}
    return panels_in(layout["first"]) | panels_in(layout["second"])


def test_rviz_shows_topics_of_the_node_with_their_types() -> None:
    content = yaml.safe_load((CONFIG / "flmm.rviz").read_text())
    displays = content["Visualization Manager"]["Displays"]
    shown = {d["Topic"]["Value"]: d["Class"].split("/")[1] for d in displays if "Topic" in d}
    assert len(shown) == 7
    wanted = {"Pose": "PoseStamped"}
    for topic, display in shown.items():
        assert TYPES[topic] == wanted.get(display, display), topic


def test_foxglove_shows_topics_of_the_node_and_every_panel_has_a_place() -> None:
    content = json.loads((CONFIG / "foxglove.json").read_text())
    topics = foxglove_topics(content["configById"])
    assert len(topics) == 10
    assert topics <= set(TYPES)
    assert panels_in(content["layout"]) == set(content["configById"])
    assert TYPES["/command"] == "String"
