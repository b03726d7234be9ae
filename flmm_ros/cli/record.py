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

r"""`flmm record`: the topics that a replay needs, from a running robot into a recording.

    flmm record out/mugs --image /camera/color/image_raw --seconds 60
    flmm record out/mugs --image /camera/color/image_raw/compressed \
        --depth /camera/aligned_depth_to_color/image_raw --camera-info /camera/color/camera_info
    flmm replay out/mugs

Writes MCAP and a scenario.yaml to begin with. Ends with Ctrl-C or after --seconds. The simulated
tabletop with its true masks is recorded by `python -m flmm_sim.recording`.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import rclpy
import typer
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.text import Text

from flmm_ros.cli.command_line import BAD_INPUT, ros_arguments
from flmm_ros.replay.recording.bag import BagError
from flmm_ros.replay.recording.bag_topics import IMAGE_TYPES
from flmm_ros.replay.recording.bag_writer import BagWriter, message_class, open_writer

_COMMAND_TYPE = "std_msgs/msg/String"
_OUTPUTS = ("grounding", "answer", "mask")  # of the node, under its name
_TRANSFORMS = ("/tf", "/tf_static")
_QUEUE = 50
_MB = 1_000_000


def record(
    out: Annotated[Path, typer.Argument(help="Folder of the new recording.")],
    image: Annotated[str, typer.Option(help="Topic of the camera images, raw or compressed.")],
    depth: Annotated[str, typer.Option(help="Topic of depth, registered to the image.")] = "",
    camera_info: Annotated[str, typer.Option(help="Topic of the camera's intrinsics.")] = "",
    command: Annotated[str, typer.Option(help="Topic of sentences.")] = "/command",
    node: Annotated[str, typer.Option(help="Its outputs are recorded too.")] = "grounding_node",
    seconds: Annotated[float, typer.Option(min=0.0, help="How long; 0: until Ctrl-C.")] = 0.0,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to look for topics.")] = 5.0,
) -> int:
    """Record the camera and the node's answers for a replay."""
    # rclpy's own handlers would end communication before the recording is finished.
    context = Context()
    rclpy.init(
        args=ros_arguments(), context=context, signal_handler_options=SignalHandlerOptions.NO
    )
    recorder = Node("record", context=context)
    console = Console()
    try:
        named = {"image": image, "depth": depth, "camera_info": camera_info}
        topics = {key: recorder.resolve_topic_name(name) for key, name in named.items() if name}
        command = recorder.resolve_topic_name(command) if command else ""
        types = _find(recorder, topics, wait)
        if types[topics["image"]] not in IMAGE_TYPES:
            raise BagError(
                f"--image {topics['image']}: expected a topic of {' or '.join(IMAGE_TYPES)}, got "
                f"{types[topics['image']]}"
            )
        for name in (*(f"{node}/{output}" for output in _OUTPUTS), *_TRANSFORMS):
            full = recorder.resolve_topic_name(name)
            if found := _types_by_topic(recorder).get(full):
                types[full] = found
        if command:
            types[command] = _COMMAND_TYPE  # also where nobody has said anything yet
        writer = open_writer(out)
        counts: Counter[str] = Counter()
        try:
            _record(recorder, writer, types, counts, seconds, console)
        finally:
            writer.close()
            path = out / "scenario.yaml"
            path.write_text(starter_scenario(out.name, topics, command, counts), encoding="utf-8")
    finally:
        recorder.destroy_node()
        rclpy.try_shutdown(context=context)
    for name in types:
        console.print(Text(f"  {name}: {counts[name]} messages"))
    if not counts[topics["image"]]:
        console.print(Text(f"{out}: no image came on {topics['image']}", style="bold red"))
        return BAD_INPUT
    console.print(Text(f"{out}: recorded; say what is right in {path}, then: flmm replay {out}"))
    return 0


def _find(node: Node, topics: Mapping[str, str], wait_s: float) -> dict[str, str]:
    """The types of topics, by name.

    Raises:
        BagError: one is not there, with those that are.
    """
    end_s = time.monotonic() + wait_s
    while True:
        there = _types_by_topic(node)
        missing = [f"{name} (--{key.replace('_', '-')})" for key, name in topics.items()
                   if name not in there]  # fmt: skip
        if not missing:
            return {name: there[name] for name in topics.values()}
        if time.monotonic() > end_s:
            listed = ", ".join(f"{n} ({t})" for n, t in sorted(there.items())) or "none"
            raise BagError(
                f"expected the topics {', '.join(missing)} within {wait_s:g} s, got {listed}; "
                "start the camera, or name its topics"
            )
        time.sleep(0.1)


def _types_by_topic(node: Node) -> dict[str, str]:
    """Topics that somebody publishes; the type of the first publisher."""
    names = node.get_topic_names_and_types()
    return {name: types[0] for name, types in names if node.count_publishers(name)}


def _record(
    node: Node,
    writer: BagWriter,
    types: Mapping[str, str],
    counts: Counter[str],
    seconds: float,
    console: Console,
) -> None:
    """Until Ctrl-C, SIGTERM, or the time is over."""
    size_bytes = 0

    def on_message(topic: str, data: bytes) -> None:
        nonlocal size_bytes
        writer.write(topic, data, time.time_ns())
        counts[topic] += 1
        size_bytes += len(data)

    for topic, kind in types.items():
        writer.add(topic, kind)
        node.create_subscription(
            message_class(kind),
            topic,
            lambda data, topic=topic: on_message(topic, bytes(data)),
            _profile(node, topic),
            raw=True,
        )
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin_s = time.monotonic()
    try:
        with console.status("recording ...") as status:
            while not seconds or time.monotonic() - begin_s < seconds:
                executor.spin_once(timeout_sec=0.1)
                status.update(
                    f"{counts.total()} messages, {size_bytes / _MB:.1f} MB, "
                    f"{time.monotonic() - begin_s:.0f} s; Ctrl-C ends"
                )
    except KeyboardInterrupt:
        pass  # the way to end it
    finally:
        signal.signal(signal.SIGTERM, before)
        executor.shutdown()


def _profile(node: Node, topic: str) -> QoSProfile:
    """What all publishers of a topic can serve."""
    offered = [info.qos_profile for info in node.get_publishers_info_by_topic(topic)]
    is_reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in offered)
    is_kept = bool(offered) and all(
        p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in offered
    )
    return QoSProfile(
        depth=_QUEUE,
        reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if is_kept else DurabilityPolicy.VOLATILE,
    )


def starter_scenario(
    name: str, topics: Mapping[str, str], command: str, counts: Mapping[str, int]
) -> str:
    """A scenario.yaml that `flmm replay` runs as it is, to be filled with right answers."""
    content: dict[str, Any] = {"name": name, "topics": dict(topics)}
    if command and counts.get(command):
        content["topics"]["command"] = command
    content["commands"] = [{"say": "what do you see?", "every_s": 1.0}]
    note = (
        "# Recorded by flmm record. Add what is right, and how good is good enough, for example:\n"
        "#   commands:\n"
        "#     - {say: how many mugs are there?, every_s: 1, expect: {answer: two}}\n"
        '#   thresholds: {answers.match: ">= 0.9"}\n'
        "# Sentences that were recorded (topics.command) are asked again.\n"
    )
    return note + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
