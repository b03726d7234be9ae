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

"""`flmm ask`: a sentence to the running node, its answer and objects back.

    flmm ask "pick up the red mug"

Exit codes: 0 answered, 1 refused (the reason is printed), 2 wrong arguments, 3 no node, 130
interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rclpy
import typer
from numpy.typing import NDArray
from PIL import Image as PillowImage
from rclpy.signals import SignalHandlerOptions

from flmm_ros.cli.command_line import INTERRUPTED, ros_arguments
from flmm_ros.engine.answer import RequestedIntent
from flmm_ros.engine.errors import ImageError
from flmm_ros.ros.client.client import GroundingClient, GroundingError, GroundingResult
from flmm_ros.ros.messages.found_target import FoundTarget

REFUSED, NO_NODE = 1, 3


def ask(  # noqa: PLR0913  one parameter an option
    command: Annotated[str, typer.Argument(help='The sentence, e.g. "pick up the red mug".')],
    intent: Annotated[
        RequestedIntent | None,
        typer.Option(
            help="What the command wants; by default the node decides.",
        ),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Ask about this file, not about the camera.")
    ] = None,
    camera: Annotated[str, typer.Option(help="One of the node's further cameras.")] = "",
    chat: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Any name; commands with the same one are a conversation about the first one's "
            "image.",
        ),
    ] = "",
    node: Annotated[str, typer.Option(help="The node's name.")] = "grounding_node",
    timeout: Annotated[float, typer.Option(help="Seconds; 0 = no limit.")] = 30.0,
    wait: Annotated[float, typer.Option(help="Seconds to look for the node.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> int:
    """Send a sentence to the grounding node; print its answer and what it means.

    Exit codes: 0 answered, 1 refused, 2 wrong arguments, 3 no node, 130 interrupted.
    """
    pixels = None if image is None else _load(image)
    # rclpy's own handlers would end communication before the node hears of the cancel.
    rclpy.init(args=ros_arguments(), signal_handler_options=SignalHandlerOptions.NO)
    asking = rclpy.create_node("ask")
    try:
        with GroundingClient(asking, node) as client:
            result = client.ground(
                command,
                timeout_s=timeout,
                intent=intent or "",
                image=pixels,
                camera=camera,
                chat_id=chat,
                on_feedback=None if quiet or as_json else _show_progress,
                wait_for_node_s=wait,
            )
    except GroundingError as error:
        print(f"flmm ask: {error}", file=sys.stderr)
        return NO_NODE
    except KeyboardInterrupt:
        print("flmm ask: cancelled", file=sys.stderr)
        return INTERRUPTED
    finally:
        asking.destroy_node()
        rclpy.try_shutdown()
    print(_as_json(result) if as_json else _as_text(result))
    return 0 if result.is_ok else REFUSED


def _load(path: Path) -> NDArray[np.uint8]:
    try:
        with PillowImage.open(path) as picture:
            return np.array(picture.convert("RGB"), np.uint8)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error}") from error


def _show_progress(stage: str, partial_text: str, elapsed_s: float) -> None:
    print(f"{elapsed_s:7.2f} s  {stage:<9} {partial_text}", file=sys.stderr)


def _as_text(result: GroundingResult) -> str:
    """Answer, one line for each object, times."""
    if not result.is_ok:
        return f"{result.error}: {result.error_text}"
    lines = [result.text]
    if result.objects:
        width = max(len(o.phrase) for o in result.objects)
        lines.append(f"  {'object':<{width}}  score  label  box (x0, y0, x1, y1) px      area px")
    for found in result.objects:
        box = str(found.box_xyxy_px) if found.is_present else "not seen"
        box += "?" if found.is_ambiguous else ""
        lines.append(
            f"  {found.phrase:<{width}}  {found.score:5.2f}  {found.label:5d}  {box:<27} "
            f"{int(found.mask.sum()):7d}"
        )
        if found.target is not None:
            lines.append(f"    {_place_of(found.target)}")
    if result.target_error == "TF_ERROR":  # that there is no depth at all is no news on most robots
        lines.append(f"  no targets: {result.target_text}")
    times = ", ".join(f"{name} {ms:.0f}" for name, ms in result.timings_ms.items())
    lines.append(f"  intent {result.intent}; ms: {times}; image {result.image_age_s:.2f} s old")
    return "\n".join(lines)


def _place_of(target: FoundTarget) -> str:
    """One line: where it is, how large, how to grasp it."""
    place = ", ".join(f"{value:.3f}" for value in target.position_m)
    size = " x ".join(f"{value:.3f}" for value in target.size_m)
    grasps = f"{len(target.grasps)} grasps" if target.grasps else "no grasp"
    if target.grasps:
        best = target.grasps[0]
        grasps += f", the best {best.width_m:.3f} m wide, score {best.score:.2f}"
    return f"at ({place}) m in {target.frame}, {size} m, {grasps}"


def _as_json(result: GroundingResult) -> str:
    objects = [
        {
            "phrase": o.phrase,
            "score": round(o.score, 4),
            "is_present": o.is_present,
            "is_ambiguous": o.is_ambiguous,
            "label": o.label,
            "box_xyxy_px": o.box_xyxy_px,
            "area_px": int(o.mask.sum()),
            "target": None if o.target is None else _target_fields(o.target),
        }
        for o in result.objects
    ]
    fields = (
        "command",
        "intent",
        "text",
        "error",
        "error_text",
        "timings_ms",
        "image_age_s",
        "target_error",
        "target_text",
    )
    return json.dumps({name: getattr(result, name) for name in fields} | {"objects": objects})


def _target_fields(target: FoundTarget) -> dict[str, Any]:
    """Poses as 4x4 lists of rows, lengths in metres."""
    return {
        "frame": target.frame,
        "centroid_m": target.centroid_m.tolist(),
        "T_frame_box": target.T_frame_box.tolist(),
        "size_m": target.size_m.tolist(),
        "is_upright": target.is_upright,
        "valid_depth_ratio": round(target.valid_depth_ratio, 4),
        "grasps": [
            {
                "T_frame_grasp": grasp.T_frame_grasp.tolist(),
                "width_m": grasp.width_m,
                "clearance_m": grasp.clearance_m,
                "score": round(grasp.score, 4),
            }
            for grasp in target.grasps
        ],
    }
