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

"""Evaluates one recording in the running node, into a folder like a run in lockstep."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flmm_ros.replay.online.node_link import NodeLink
from flmm_ros.replay.online.playback import OnlineReplay, Playback
from flmm_ros.replay.recording.bag import Bag
from flmm_ros.replay.recording.bag_topics import check_topics, image_topic
from flmm_ros.replay.runs.evaluate import ONLINE, OnAnswer, conclude, facts_of, store_rows
from flmm_ros.replay.runs.process_usage import ProcessUsage, find_process
from flmm_ros.replay.runs.schedule import FrameCounts
from flmm_ros.replay.scenario import Scenario
from flmm_ros.ros.interface.parameters import SETTINGS


def evaluate_online(
    bag_path: Path,
    scenario: Scenario,
    out: Path,
    playing: Playback,
    on_row: OnAnswer,
    *,
    node: str = "grounding_node",
    ros_arguments: Sequence[str] = (),
) -> dict[str, Any]:
    """Plays a recording into the node and returns the content of summary.json.

    Raises:
        FlmmError: the recording or the node cannot be used; the rows so far are in `out`.
    """
    # SIGTERM, from a launch system, ends like Ctrl-C: with the rows so far.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with Bag(bag_path) as bag, NodeLink(ros_arguments, node) as link:
        check_topics(bag, scenario)
        total, sha256 = bag.topics[image_topic(bag, scenario)].count, bag.sha256()
        counts, usage = FrameCounts(), ProcessUsage(find_process(node))
        replay = OnlineReplay(bag, scenario, link, counts, usage, playing)
        rows = store_rows(replay.rows(), out, lambda row: on_row(row, counts, total))
        facts = facts_of(bag, sha256, counts, usage, rows)
        parameters = link.parameters(list(SETTINGS))
    made_with = {
        "mode": ONLINE,
        "rate": playing.rate,
        "model": str(parameters.get("model", "")),
        "parameters": parameters,
        "images_late_ms": replay.late_ms,
    }
    return conclude(out, rows, [facts], scenario, made_with)
