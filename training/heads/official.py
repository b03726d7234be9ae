"""Heads to and from the official key format, strictly: every key is accounted for.

    python -m training.heads.official export out/run/heads_best.safetensors flmm.pth
    python -m training.heads.official import flmm.pth sam_vit_l.pth heads.safetensors

Does not know about: how heads are trained.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from flmm_ros.engine.errors import FlmmError
from flmm_ros.engine.heads.checkpoint import (
    load_heads,
    load_official_heads,
    save_heads,
    save_official_heads,
)


def exported(ours: Path, official: Path, *, without_selector: bool = False) -> int:
    """One of our head files as an official one; how many tensors it has.

    Raises:
        CheckpointError: not one of ours, or it holds what has no official name.
    """
    return len(save_official_heads(official, load_heads(ours), without_selector=without_selector))


def imported(official: Path, sam: Path, ours: Path) -> int:
    """Official heads and a segment-anything checkpoint as one of our head files; how many tensors.

    Raises:
        CheckpointError: a file is missing or corrupt, or holds keys that fit nothing.
    """
    heads = load_official_heads(official, sam)
    made = {
        "made": "python -m training.heads.official import",
        "heads": official.name,
        "sam": sam.name,
    }
    save_heads(ours, heads, made)
    return len(heads.state_dict())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0, or 1 with a message."""
    parser = argparse.ArgumentParser(prog="python -m training.heads.official", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    export = verbs.add_parser("export", help="ours to official")
    export.add_argument("ours", type=Path)
    export.add_argument("official", type=Path)
    export.add_argument("--without-selector", action="store_true")
    import_ = verbs.add_parser("import", help="official to ours")
    import_.add_argument("official", type=Path)
    import_.add_argument("sam", type=Path, help="the segment-anything checkpoint it belongs to")
    import_.add_argument("ours", type=Path)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if given.verb == "export":
            count = exported(given.ours, given.official, without_selector=given.without_selector)
            print(f"{given.official}: {count} tensors")
        else:
            count = imported(given.official, given.sam, given.ours)
            print(f"{given.ours}: {count} tensors")
    except FlmmError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
