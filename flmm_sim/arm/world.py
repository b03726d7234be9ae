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

"""A tabletop that can be gripped in: things with mass and friction, a Panda, an RGB-D camera.

The things and the camera are those of `flmm_sim.tabletop`, smaller: at `SCALE` the gripper, which
opens 8 cm, gets around them, and because the camera comes nearer by as much, the pictures stay the
same. The arm is bolted down at the left of the picture, out of sight while it waits aside; the lamp
stands on the other side, so that the arm's shadow falls away from the table. Worlds are functions
of an integer seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flmm_sim.arm.panda import Panda
from flmm_sim.bullet.world import STEP_S, BulletWorld
from flmm_sim.tabletop.camera import HEIGHT_PX, WIDTH_PX, Look, Picture, draw_look
from flmm_sim.tabletop.placements import Placement, draw_placements
from flmm_sim.tabletop.tabletop import MIN_VISIBLE_PX

SCALE = 0.55  # of the tabletop that the embedded model knows
GAP_M = 0.18  # in that tabletop: room for a finger between any two things
SETTLE_S = 0.6
T_WORLD_BASE = np.array([[1.0, 0, 0, -0.5], [0, 1, 0, -0.05], [0, 0, 1, 0], [0, 0, 0, 1]])
ASIDE_RAD = np.array([0.0, -1.3, 0.0, -2.7, 0.0, 1.9, 0.785])
PICTURE_HW = (HEIGHT_PX, WIDTH_PX)


@dataclass(frozen=True)
class Thing:
    """One thing on the table: its words, its body in the physics world."""

    placement: Placement
    body: int

    @property
    def name(self) -> str:
        """The words for it: "red mug"."""
        return self.placement.name


class GraspWorld:
    """One physics world. Not thread-safe, one per thread.

    Args:
        seed: which things, where, and how they are looked at.
        on_step: called after every physics step with the world; for films.
    """

    def __init__(self, seed: int, on_step: Callable[[GraspWorld], None] | None = None) -> None:
        self.seed, self._on_step = seed, on_step
        self._world = BulletWorld()
        self.time_s = 0.0
        rng = np.random.default_rng(seed)
        while True:  # as on the tabletop: nothing may be nearly hidden
            self._build(draw_placements(rng, GAP_M), draw_look(rng))
            if self._all_in_sight():
                break

    def close(self) -> None:
        """Frees the physics world."""
        self._world.close()

    def __enter__(self) -> GraspWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, name: str) -> Thing | None:
        """The thing called `name` ("red mug"), or None."""
        return next((thing for thing in self.things if thing.name == name), None)

    def middle_m(self, thing: Thing) -> NDArray[np.float64]:
        """Where the middle of a thing is in the world, now, [3]."""
        return self._world.position_m(thing.body)

    def step(self, duration_s: float) -> None:
        """Lets physics, motors included, go on for a while."""
        for _ in range(max(1, round(duration_s / STEP_S))):
            self.arm.tick()
            self._world.step()
            self.time_s += STEP_S
            if self._on_step is not None:
                self._on_step(self)

    def picture(self) -> Picture:
        """What the robot's camera sees now."""
        return self._world.picture(self.look, PICTURE_HW, SCALE)

    def onlooker_picture(self, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """The whole scene, arm included, from a place where people would stand: RGB [H, W, 3]."""
        return self._world.onlooker_picture(self.look, size_hw)

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """The camera's pose, optical convention (z forward, x right, y down)."""
        return self._T_world_camera

    def _build(self, placements: list[Placement], look: Look) -> None:
        self._world.reset()
        self._world.start_physics()
        x, y, z = look.light
        self.look = dataclasses.replace(look, light=(abs(x), y, z))
        self._world.add_solid_table(look)
        self.things = tuple(Thing(p, self._world.add_solid(p, SCALE)) for p in placements)
        self.arm = Panda(self._world, T_WORLD_BASE, ASIDE_RAD)
        on_step, self._on_step = self._on_step, None  # nobody films how things are put down
        self.step(SETTLE_S)
        self._on_step = on_step
        self.time_s = 0.0

    def _all_in_sight(self) -> bool:
        """Every thing shows enough pixels; here the camera's pose is noted too."""
        picture = self.picture()
        self._T_world_camera = picture.T_world_camera
        return all((picture.ids == t.body).sum() >= MIN_VISIBLE_PX for t in self.things)
