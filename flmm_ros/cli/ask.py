"""The command line of the client: a sentence in, answer and objects out.

    python -m flmm_ros.ros.client.client "pick up the red mug"

Exit codes: 0 answered, 1 refused (the reason is printed), 2 wrong arguments, 3 no node, 130
interrupted.
Does not know about: the model, the node's process.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from PIL import Image as PillowImage
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from flmm_ros.ros.client.client import GroundingClient, GroundingError, GroundingResult
from flmm_ros.ros.commands.command import INTENTS
from flmm_ros.ros.targets.target_messages import FoundTarget

REFUSED, BAD_ARGUMENTS, NO_NODE, INTERRUPTED = 1, 2, 3, 130


def main(argv: list[str] | None = None) -> int:
    """Entry point of the executable; `argv` without the program's name."""
    arguments = sys.argv[1:] if argv is None else argv
    args = _parser().parse_args(remove_ros_args(["ground", *arguments])[1:])
    try:
        image = None if args.image is None else _load(args.image)
    except OSError as error:
        print(f"ground: cannot read {args.image}: {error}", file=sys.stderr)
        return BAD_ARGUMENTS
    # rclpy's own handlers would end communication before the node hears of the cancel.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("ground")
    try:
        with GroundingClient(node, args.node) as client:
            result = client.ground(
                args.command,
                timeout_s=args.timeout,
                intent=args.intent,
                image=image,
                camera=args.camera,
                chat_id=args.chat,
                on_feedback=None if args.quiet or args.json else _show_progress,
                wait_for_node_s=args.wait,
            )
    except GroundingError as error:
        print(f"ground: {error}", file=sys.stderr)
        return NO_NODE
    except KeyboardInterrupt:
        print("ground: cancelled", file=sys.stderr)
        return INTERRUPTED
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    print(_as_json(result) if args.json else _as_text(result))
    return 0 if result.is_ok else REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ground",
        description="Send a sentence to the grounding node; print its answer and what it means.",
        epilog="Exit codes: 0 answered, 1 refused, 2 wrong arguments, 3 no node, 130 interrupted.",
    )
    parser.add_argument("command", help='the sentence, e.g. "pick up the red mug"')
    parser.add_argument("--intent", choices=INTENTS, default="", help="default: the node decides")
    parser.add_argument("--image", type=Path, help="ask about this file, not about the camera")
    parser.add_argument("--camera", default="", help="one of the node's further cameras")
    parser.add_argument(
        "--chat",
        default="",
        metavar="ID",
        help="any name; commands with the same one are a conversation about the first one's image",
    )
    parser.add_argument("--node", default="grounding_node", help="its name, default %(default)s")
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds, 0 = none (default 30)"
    )
    parser.add_argument("--wait", type=float, default=5.0, help="seconds to look for the node")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return parser


def _load(path: Path) -> NDArray[np.uint8]:
    with PillowImage.open(path) as picture:
        return np.array(picture.convert("RGB"), np.uint8)


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
