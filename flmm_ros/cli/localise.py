"""Finds the localisation heads of a model, once, from images and what is said about them.

    python -m flmm_ros.cli.localise qwen2_5_vl_7b photos/*.jpg

For each image the phrases stand in a text file of the same name (photo.txt beside photo.jpg, one
phrase a line); where there is none the model describes the image itself and its own phrases are
taken. No masks are needed. Writes the JSON that the model file names (`localisation`), and beside
it a picture of what the chosen heads look at. A hundred pairs are plenty.

Does not know about: ROS, trained heads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch.nn import functional as F

from flmm_ros.cli.ground import read_image
from flmm_ros.engine.config import GrounderConfig, with_overrides
from flmm_ros.engine.config.model_search import locate_model
from flmm_ros.engine.errors import CheckpointError, FlmmError
from flmm_ros.engine.grounder import open_lmm
from flmm_ros.engine.heads.localisation import Localisation, select_heads
from flmm_ros.engine.language.phrases import find_phrases
from flmm_ros.engine.lmm import Lmm, Prefix
from flmm_ros.engine.masks.framing import crop_to_image
from flmm_ros.engine.masks.overlay import draw_heat

KEPT = 3
MAX_PHRASES = 4  # of one image: many phrases of few images would only repeat each other
_SHOWN_PAIRS = 6


@dataclass(frozen=True)
class Pair:
    """An image, a phrase about it, and the raw maps [C, h, w] of the phrase, in main memory."""

    image_number: int
    image: NDArray[np.uint8]
    phrase: str
    maps: torch.Tensor


def pairs_of(lmm: Lmm, paths: Sequence[Path]) -> Iterator[Pair]:
    """Reads every phrase of every image."""
    steps = track(paths, description="images", disable=len(paths) < 2)
    for number, path in enumerate(steps):
        image = read_image(path)
        prefix = lmm.encode(image)
        for phrase in _phrases(lmm, path, prefix)[:MAX_PHRASES]:
            suffix = lmm.text().reading(lmm.config.prompt, phrase, [(0, len(phrase))])
            yield Pair(
                number, image, phrase, lmm.read(prefix, suffix.ids, suffix.spans).maps[0].cpu()
            )


def _phrases(lmm: Lmm, path: Path, prefix: Prefix) -> list[str]:
    """From the text file beside the image, or from the model's own description."""
    beside = path.with_suffix(".txt")
    if beside.is_file():
        lines = beside.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]
    question = lmm.text().question(lmm.config.prompt)
    said = lmm.generate(prefix, question.ids, max_new_tokens=64)
    return [phrase.text for phrase in find_phrases(lmm.text().decode(said.ids).text)]


def contact_sheet(lmm: Lmm, found: Localisation, pairs: Sequence[Pair]) -> Image.Image:
    """One row a pair: the image, then what each chosen head looks at."""
    rows = []
    for pair in pairs:
        image_hw = (pair.image.shape[0], pair.image.shape[1])
        view = lmm.views(image_hw)[-1]
        pictures = [pair.image]
        for channel in found.channels:
            grid = crop_to_image(pair.maps[channel][None, None].float(), view, image_hw)
            heat = F.interpolate(grid, image_hw, mode="bilinear")[0, 0].numpy()
            pictures.append(draw_heat(pair.image, heat, len(pictures) - 1))
        rows.append(Image.fromarray(np.concatenate(pictures, axis=1)))
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    args = _parser().parse_args(argv)
    try:
        config = with_overrides(GrounderConfig(model=args.model), args.set)
        model = locate_model(config.model, download=config.download)
        lmm = open_lmm(model, config)
        with torch.inference_mode():
            pairs = list(pairs_of(lmm, args.images))
        if not pairs:
            raise CheckpointError(
                "expected at least one phrase, got none: the model's descriptions name nothing; "
                "write phrases into text files beside the images"
            )
        made = f"{len(pairs)} phrases of {len(args.images)} images"
        images = [p.image_number for p in pairs]
        found = select_heads(
            (p.maps for p in pairs), lmm.shape, keep=args.keep, made=made, images=images
        )
        out = args.out or Path(model.localisation)
        out.parent.mkdir(parents=True, exist_ok=True)
        found.save(out)
        contact_sheet(lmm, found, pairs[:_SHOWN_PAIRS]).save(out.with_suffix(".png"))
    except (FlmmError, OSError) as error:
        print(f"localisation: {error}", file=sys.stderr)
        return 2
    for name, votes in zip(found.names(), found.votes, strict=True):
        print(f"{name}: chosen by {votes:.0%} of {len(pairs)} pairs")
    print(f"{out}\n{out.with_suffix('.png')}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flmm_ros.cli.localise",
        description="Find the attention heads of a language model that point; no masks needed.",
    )
    parser.add_argument("model", metavar="MODEL", help="name, YAML file or directory")
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="image files")
    parser.add_argument(
        "--keep",
        type=int,
        choices=range(1, 11),
        default=KEPT,
        metavar="N",
        help="heads to keep, 1 to 10 (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, help="JSON to write (default: where the model file expects it)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="another setting"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
