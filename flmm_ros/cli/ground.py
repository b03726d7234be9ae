"""The smallest complete use of the engine, and a command line.

    python -m flmm_ros.cli.ground IMAGE "the red mug"
    python -m flmm_ros.cli.ground IMAGE "what can I drink from?" --model tabletop --out
    out/ground

Writes an overlay, what each phrase looked at ("_heat"), both PNG, and a JSON with answer, boxes,
scores and timings into the output folder. Exit status: 0 answered, 2 something has to be put right
first.

Does not know about: ROS.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from flmm_ros.engine.answer import Answer, Intent
from flmm_ros.engine.config import GrounderConfig, with_overrides
from flmm_ros.engine.errors import FlmmError, ImageError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.masks.overlay import draw_heatmaps, draw_overlay


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as RGB uint8 [H, W, 3], upright: a photograph says which side was up.

    Raises:
        ImageError: missing, or not an image.
    """
    try:
        with Image.open(path) as file:
            return np.array(ImageOps.exif_transpose(file).convert("RGB"), np.uint8)
    except FileNotFoundError as error:
        raise ImageError(f"{path}: expected an image file, got nothing there") from error
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: expected a complete image file, got: {error}") from error


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """What fits into JSON: everything but the masks, which the overlay shows."""
    objects = [
        {
            "phrase": g.phrase,
            "is_present": g.is_present,
            "is_ambiguous": g.is_ambiguous,
            "score": round(g.score, 4),
            "box_xyxy_px": list(g.box_xyxy_px),
            "area_px": int(g.mask.sum()),
            "text_span": list(g.text_span) if g.text_span else None,
        }
        for g in answer.objects
    ]
    return {
        "text": answer.text,
        "intent": answer.intent.value,
        "objects": objects,
        "timings_ms": {stage: round(ms, 1) for stage, ms in answer.timings_ms.items()},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING)
    try:
        image = read_image(args.image)
        config = with_overrides(GrounderConfig(model=args.model), args.set)
        intent = Intent(args.intent) if args.intent else None
        answer = Grounder.from_config(config).open(image).ask(args.command, intent)
        args.out.mkdir(parents=True, exist_ok=True)
    except (FlmmError, OSError) as error:
        print(f"ground: {error}", file=sys.stderr)
        return 2
    content = {"command": args.command, "image": str(args.image), **answer_to_json(answer)}
    overlay, report = args.out / f"{args.image.stem}.png", args.out / f"{args.image.stem}.json"
    Image.fromarray(draw_overlay(image, answer.objects)).save(overlay)
    if answer.objects:
        heat = Image.fromarray(draw_heatmaps(image, answer.objects))
        heat.save(args.out / f"{args.image.stem}_heat.png")
    report.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(answer.text)
    for g in answer.objects:
        state = "one of several" if g.is_ambiguous else "present" if g.is_present else "absent"
        print(f"  {g.phrase}: {state}, score {g.score:.2f}, box {g.box_xyxy_px}")
    print(f"{overlay}\n{report}")
    return 0


def _parser() -> argparse.ArgumentParser:
    default = GrounderConfig()
    settings = ", ".join(f.name for f in dataclasses.fields(default) if f.name != "model")
    parser = argparse.ArgumentParser(
        prog="python -m flmm_ros.cli.ground",
        description="Ask about an image; get an answer and masks of what it names.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="image file")
    parser.add_argument("command", metavar="COMMAND", help='a sentence, e.g. "the red mug"')
    parser.add_argument(
        "--model", default=default.model, help="name, YAML file or directory (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/ground"), help="folder (default: %(default)s)"
    )
    parser.add_argument(
        "--intent",
        choices=[intent.value for intent in Intent],
        help="what the command wants (default: found from its form)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"another setting, may be repeated: {settings}",
    )
    parser.add_argument("--verbose", action="store_true", help="log what is loaded and timings")
    return parser


if __name__ == "__main__":
    sys.exit(main())
