"""A simulated tabletop: a robot's camera over coloured objects, with the truth of every pixel.

Scenes are functions of an integer seed: the same seed gives the same picture, depth, masks and
object list on every machine with the same PyBullet, whose software renderer needs neither display
nor GPU.

    python -m flmm_sim.tabletop.tabletop 7 --out scene.png     # draw the scene of seed 7

Seeds, by convention: training below 1,000,000; evaluation from 1,000,000; never above 5,000,000.
Does not know about: models, ROS, language beyond the names of kinds and colours.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pybullet
from numpy.typing import NDArray

from flmm_sim.tabletop.camera import FAR_M as FAR_M
from flmm_sim.tabletop.camera import HEIGHT_PX as HEIGHT_PX
from flmm_sim.tabletop.camera import NEAR_M as NEAR_M
from flmm_sim.tabletop.camera import WIDTH_PX as WIDTH_PX
from flmm_sim.tabletop.camera import Look, add_table, draw_look, take_picture
from flmm_sim.tabletop.objects import ALL_KINDS as ALL_KINDS
from flmm_sim.tabletop.objects import COLORS as COLORS
from flmm_sim.tabletop.objects import KINDS as KINDS
from flmm_sim.tabletop.objects import (
    Placement,
    add_visual,
    draw_crowd,
    draw_placements,
    shape_of,
    uncover,
)
from flmm_sim.tabletop.textures import TABLES, TextureFolder

MIN_VISIBLE_PX = 80  # an object that shows less than this is not counted as seen
TEXTURED = 0.4  # share of crowded tables of planks, tiles or cloth instead of one shade


@dataclass(frozen=True)
class SceneObject:
    """One object: what it is, where it stands in the world, and its value in the label image."""

    kind: str
    color: str
    label: int
    position_m: tuple[float, float, float]
    center_px: tuple[float, float]
    visible_px: int

    @property
    def name(self) -> str:
        """The words for it: "red mug"."""
        return f"{self.color} {self.kind}"


@dataclass(frozen=True)
class TabletopScene:
    """A rendered scene.

    rgb uint8 [H, W, 3]; depth_m float32 [H, W] along the optical axis; labels uint8 [H, W], 0 is
    the table, i the object with label i; K float64 [3, 3] for pixel coordinates whose whole numbers
    are pixel centres; T_world_camera float64 [4, 4] with the camera in the optical convention
    (z forward, x right, y down).
    """

    seed: int
    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    labels: NDArray[np.uint8]
    objects: tuple[SceneObject, ...]
    K: NDArray[np.float64]
    T_world_camera: NDArray[np.float64]

    def find(self, name: str) -> SceneObject | None:
        """The object called `name` ("red mug"), or None."""
        return next((o for o in self.objects if o.name == name), None)

    def mask(self, obj: SceneObject) -> NDArray[np.bool_]:
        """The visible pixels of an object, bool [H, W]."""
        return self.labels == obj.label


class Tabletop:
    """Renders scenes by seed. Holds one PyBullet world; not thread-safe, one per thread."""

    def __init__(self, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> None:
        self.width_px, self.height_px = width_px, height_px
        self._textures = TextureFolder()
        self._client = pybullet.connect(pybullet.DIRECT)
        if self._client < 0:
            raise RuntimeError("PyBullet refused a headless (DIRECT) connection")

    def close(self) -> None:
        """Frees the physics world."""
        if self._client >= 0:
            pybullet.disconnect(self._client)
            self._client = -1
            self._textures.close()

    def __enter__(self) -> Tabletop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def render(self, seed: int, *, turn_deg: float = 0.0) -> TabletopScene:
        """The scene of `seed`: 2 to 6 objects, every pair of colour and kind at most once.

        turn_deg: how far the camera has gone around the table. Things may then hide each other, and
        the labels of those that are seen are counted anew.
        """
        rng = np.random.default_rng(seed)
        while True:  # an object nearly hidden by another would be a wrong truth: draw again
            placements, look = draw_placements(rng), draw_look(rng)
            scene = self._render(seed, placements, look)
            if len(scene.objects) == len(placements):
                break
        if turn_deg == 0.0:
            return scene
        return self._render(seed, placements, replace(look, yaw_deg=look.yaw_deg + turn_deg))

    def render_crowd(self, seed: int) -> TabletopScene:
        """The crowded scene of `seed`: 4 to 10 objects of all kinds, patterned or plain, on a plain
        or textured table, where some hide parts of others."""
        rng = np.random.default_rng([seed, 1])
        while True:
            placements, look = draw_crowd(rng), draw_look(rng)
            under = str(rng.choice(list(TABLES))) if rng.random() < TEXTURED else None
            scene = self._render(seed, placements, look, under)
            if len(scene.objects) == len(placements) >= 4:
                return scene

    def _render(
        self, seed: int, placements: list[Placement], look: Look, table_texture: str | None = None
    ) -> TabletopScene:
        pybullet.resetSimulation(physicsClientId=self._client)
        table = add_table(look, self._client)
        if table_texture is not None:
            pybullet.changeVisualShape(
                table,
                -1,
                textureUniqueId=self._textures.load(table_texture, self._client),
                rgbaColor=[*look.shade, 1],
                physicsClientId=self._client,
            )
        bodies = [self._add(p) for p in placements]
        picture = take_picture(look, (self.height_px, self.width_px), self._client)
        labels, objects = _truth(picture.ids, bodies, placements)
        return TabletopScene(
            seed=seed,
            rgb=picture.rgb,
            depth_m=picture.depth_m,
            labels=labels,
            objects=objects,
            K=picture.K,
            T_world_camera=picture.T_world_camera,
        )

    def _add(self, p: Placement) -> int:
        """Puts one object on the table and returns its body id."""
        shape, client = shape_of(p), self._client
        body = pybullet.createMultiBody(
            0,
            -1,
            add_visual(shape, p.rgba, client),
            [*p.xy_m, shape.height_m],
            shape.turn_xyzw,
            physicsClientId=client,
        )
        pattern_id = self._textures.load(p.pattern, client) if p.pattern else -1
        uncover(body, shape, p.rgba, client, pattern_id)
        return int(body)


def _truth(
    ids: NDArray[np.int_], bodies: list[int], placements: list[Placement]
) -> tuple[NDArray[np.uint8], tuple[SceneObject, ...]]:
    """Label image and list of the objects that can be seen."""
    labels = np.zeros(ids.shape, np.uint8)
    objects: list[SceneObject] = []
    for body, p in zip(bodies, placements, strict=True):
        rows, columns = np.nonzero(ids == body)
        if len(rows) < MIN_VISIBLE_PX:
            continue
        label = len(objects) + 1
        labels[rows, columns] = label
        objects.append(
            SceneObject(
                kind=p.kind,
                color=p.color,
                label=label,
                position_m=(*p.xy_m, 0.0),
                center_px=(float(columns.mean()), float(rows.mean())),
                visible_px=len(rows),
            )
        )
    return labels, tuple(objects)


def seed_range(text: str) -> tuple[int, int]:
    """ "A:B" -> (A, B), for command lines."""
    try:
        first, stop = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected FIRST:STOP, got {text!r}") from None
    if not 0 <= first < stop <= 5_000_000:
        raise argparse.ArgumentTypeError(f"expected 0 <= FIRST < STOP <= 5000000, got {text!r}")
    return first, stop


def main() -> None:
    """Command line: draws the scene of one seed and prints what is in it."""
    parser = argparse.ArgumentParser(description="Draw the simulated tabletop of one seed.")
    parser.add_argument("seed", type=int)
    parser.add_argument("--out", type=Path, default=Path("scene.png"), help="PNG to write")
    parser.add_argument("--crowded", action="store_true", help="4 to 10 things, some patterned")
    parser.add_argument("--width", type=int, default=WIDTH_PX, help="pixels")
    parser.add_argument("--height", type=int, default=HEIGHT_PX, help="pixels")
    args = parser.parse_args()
    from PIL import Image

    with Tabletop(args.width, args.height) as table:
        scene = table.render_crowd(args.seed) if args.crowded else table.render(args.seed)
    Image.fromarray(scene.rgb).save(args.out)
    for obj in scene.objects:
        x, y = obj.center_px
        print(f"{obj.label}  {obj.name:<16} at ({x:.0f}, {y:.0f}) px, {obj.visible_px} px visible")


if __name__ == "__main__":
    main()
