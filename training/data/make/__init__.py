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

"""Small data sets in the published formats, drawn from tabletop scenes: for tests and trial runs.

    python -m training.data make out/data --scenes 24

Everything is as the real ones have it: file names, pickles, polygons (several for an object in
parts), run lengths for what has holes, crowds, panoptic PNGs. So the readers, the loop and the
evaluation that run on these run on the real ones. The masks are the simulator's, to the pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX
from training.data.make.narratives import make_png
from training.data.make.queries import make_reasonseg
from training.data.make.referring import UNC, make_grefcoco, make_refcoco
from training.data.make.shots import Shot, draw_shots
from training.data.rle import DataError

Maker = Callable[[Path, Sequence[Shot]], None]

TEST = ("train", "val", "test")
MAKERS: dict[str, Maker] = {
    "refcoco": partial(make_refcoco, name="refcoco", split_bys={"unc": UNC, "google": TEST}),
    "refcoco+": partial(make_refcoco, name="refcoco+", split_bys={"unc": UNC}),
    "refcocog": partial(make_refcoco, name="refcocog", split_bys={"umd": TEST, "google": TEST[:2]}),
    "grefcoco": make_grefcoco,
    "png": make_png,
    "reasonseg": make_reasonseg,
}
MIN_SCENES = 4  # one for each split of RefCOCO
MARK = "made_from_tabletop.txt"  # lies where data was made, so that downloads are not overwritten


def make(
    root: Path | str,
    seeds: Iterable[int],
    sets: Sequence[str] = tuple(MAKERS),
    *,
    size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX),
) -> None:
    """Writes data sets below `root`, one photo per seed, divided into the published splits.

    size_px: width and height of the photos.

    Raises:
        DataError: a name that cannot be made, fewer than MIN_SCENES seeds, or real data there.
    """
    root, seeds = Path(root), tuple(seeds)
    if unknown := [name for name in sets if name not in MAKERS]:
        raise DataError(f"cannot make {', '.join(unknown)}; can make: {', '.join(MAKERS)}")
    if len(set(seeds)) != len(seeds) or len(seeds) < MIN_SCENES:
        raise DataError(f"expected {MIN_SCENES} different seeds or more, got {len(set(seeds))}")
    _refuse_real_data(root)
    shots = draw_shots(seeds, size_px)
    for name in sets:
        MAKERS[name](root, shots)


def _refuse_real_data(root: Path) -> None:
    folders = ("annotations", "reason_seg", "train2014", "train2017", "val2017", *MAKERS)
    there = [name for name in folders if (root / name).exists()]
    if there and not (root / MARK).exists():
        raise DataError(
            f"{root} holds {', '.join(there)}, which may be downloaded data; make small data sets "
            "in another folder"
        )
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).write_text("python -m training.data make wrote all of this; it can be deleted.\n")
