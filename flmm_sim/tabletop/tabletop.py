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

"""A simulated tabletop: a robot's camera over coloured objects, with the truth of every pixel.

Scenes are functions of an integer seed: the same seed gives the same picture, depth, masks and
object list on every machine with the same PyBullet, whose software renderer needs neither display
nor GPU. `Tabletop` and `TabletopScene` are what others use; what stands where is drawn in
`placements`, how it is looked at in `camera`.

Seeds, by convention: training below 1,000,000; evaluation from 1,000,000; never above 5,000,000.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flmm_sim.bullet.world import BulletWorld
from flmm_sim.tabletop.camera import FAR_M as FAR_M
from flmm_sim.tabletop.camera import HEIGHT_PX as HEIGHT_PX
from flmm_sim.tabletop.camera import NEAR_M as NEAR_M
from flmm_sim.tabletop.camera import WIDTH_PX as WIDTH_PX
from flmm_sim.tabletop.camera import Look, draw_look
from flmm_sim.tabletop.placements import ALL_KINDS as ALL_KINDS
from flmm_sim.tabletop.placements import COLORS as COLORS
from flmm_sim.tabletop.placements import KINDS as KINDS
from flmm_sim.tabletop.placements import Placement, draw_crowd, draw_placements
from flmm_sim.tabletop.textures import TABLES

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
    """Renders scenes by seed. Holds one physics world; not thread-safe, one per thread."""

    def __init__(self, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> None:
        self.width_px, self.height_px = width_px, height_px
        self._world = BulletWorld()

    def close(self) -> None:
        """Frees the physics world."""
        self._world.close()

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
        self._world.reset()
        self._world.add_table(look, table_texture)
        bodies = [self._world.add_visible(p) for p in placements]
        picture = self._world.picture(look, (self.height_px, self.width_px))
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
