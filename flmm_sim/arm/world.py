"""A tabletop that can be gripped in: things with mass and friction, a Panda, an RGB-D camera.

The things and the camera are those of tabletop.py, smaller: at `SCALE` the gripper, which opens
8 cm, gets around them, and because the camera comes nearer by as much, the pictures stay the same.
The arm is bolted down at the left of the picture, out of sight while it waits aside; the lamp
stands on the other side, so that the arm's shadow falls away from the table. Worlds are functions
of an integer seed.

    python -m flmm_sim.arm.world 2000000 --out world.png    # what the camera sees, and all

Does not know about: ROS, the model, what somebody wants gripped.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pybullet
import pybullet_data
from numpy.typing import NDArray

from flmm_sim.arm.panda import STEP_S, Panda
from flmm_sim.tabletop.camera import (
    FAR_M,
    HEIGHT_PX,
    NEAR_M,
    WIDTH_PX,
    Look,
    Picture,
    add_table,
    draw_look,
    take_picture,
)
from flmm_sim.tabletop.objects import (
    ObjectShape,
    Placement,
    add_visual,
    draw_placements,
    shape_of,
    uncover,
)
from flmm_sim.tabletop.tabletop import MIN_VISIBLE_PX

SCALE = 0.55  # of the tabletop that the embedded model knows
GAP_M = 0.18  # in that tabletop: room for a finger between any two things
MASS_KG = 0.06
SETTLE_S = 0.6
T_WORLD_BASE = np.array([[1.0, 0, 0, -0.5], [0, 1, 0, -0.05], [0, 0, 1, 0], [0, 0, 0, 1]])
ASIDE_RAD = np.array([0.0, -1.3, 0.0, -2.7, 0.0, 1.9, 0.785])
_RING_PARTS = 16
_PICTURE_HW = (HEIGHT_PX, WIDTH_PX)


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
        self._client = pybullet.connect(pybullet.DIRECT)
        if self._client < 0:
            raise RuntimeError("PyBullet refused a headless (DIRECT) connection")
        self.time_s = 0.0
        rng = np.random.default_rng(seed)
        while True:  # as in tabletop.py: nothing may be nearly hidden
            self._build(draw_placements(rng, GAP_M), draw_look(rng))
            if self._all_in_sight():
                break

    def close(self) -> None:
        """Frees the physics world."""
        if self._client >= 0:
            pybullet.disconnect(self._client)
            self._client = -1

    def __enter__(self) -> GraspWorld:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, name: str) -> Thing | None:
        """The thing called `name` ("red mug"), or None."""
        return next((thing for thing in self.things if thing.name == name), None)

    def middle_m(self, thing: Thing) -> NDArray[np.float64]:
        """Where the middle of a thing is in the world, now, [3]."""
        position, _ = pybullet.getBasePositionAndOrientation(
            thing.body, physicsClientId=self._client
        )
        return np.array(position)

    def thing_at(self, row: int, column: int, picture: Picture) -> Thing | None:
        """The thing that a pixel of a picture shows, or None."""
        return next((t for t in self.things if t.body == picture.ids[row, column]), None)

    def step(self, duration_s: float) -> None:
        """Lets physics, motors included, go on for a while."""
        for _ in range(max(1, round(duration_s / STEP_S))):
            self.arm.tick()
            pybullet.stepSimulation(physicsClientId=self._client)
            self.time_s += STEP_S
            if self._on_step is not None:
                self._on_step(self)

    def wait_for_arm(self) -> None:
        """Lets physics go on until the arm's motion has ended."""
        while self.arm.is_moving:
            self.step(4 * STEP_S)

    def picture(self) -> Picture:
        """What the robot's camera sees now."""
        return take_picture(self.look, _PICTURE_HW, self._client, SCALE)

    def onlooker_picture(self, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """The whole scene, arm included, from a place where people would stand: RGB [H, W, 3]."""
        height_px, width_px = size_hw
        view = pybullet.computeViewMatrix([0.55, -0.75, 0.55], [-0.12, 0.0, 0.15], [0, 0, 1])
        projection = pybullet.computeProjectionMatrixFOV(45, width_px / height_px, NEAR_M, FAR_M)
        rgba = pybullet.getCameraImage(
            width_px,
            height_px,
            view,
            projection,
            renderer=pybullet.ER_TINY_RENDERER,
            lightDirection=list(self.look.light),
            shadow=1,
            physicsClientId=self._client,
        )[2]
        return np.reshape(rgba, (height_px, width_px, 4))[..., :3].astype(np.uint8)

    @property
    def T_world_camera(self) -> NDArray[np.float64]:
        """The camera's pose, optical convention (z forward, x right, y down)."""
        return self._T_world_camera

    def _build(self, placements: list[Placement], look: Look) -> None:
        client = self._client
        pybullet.resetSimulation(physicsClientId=client)
        pybullet.setGravity(0, 0, -9.81, physicsClientId=client)
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=STEP_S, numSolverIterations=100, physicsClientId=client
        )
        x, y, z = look.light
        self.look = dataclasses.replace(look, light=(abs(x), y, z))
        plate = pybullet.createCollisionShape(
            pybullet.GEOM_BOX, halfExtents=[1.2, 1.2, 0.01], physicsClientId=client
        )
        table = add_table(look, client, plate)
        pybullet.changeDynamics(table, -1, lateralFriction=0.8, physicsClientId=client)
        self.things = tuple(Thing(p, _add_thing(p, client)) for p in placements)
        self.arm = Panda(client, T_WORLD_BASE, ASIDE_RAD)
        on_step, self._on_step = self._on_step, None  # nobody films how things are put down
        self.step(SETTLE_S)
        self._on_step = on_step
        self.time_s = 0.0

    def _all_in_sight(self) -> bool:
        """Every thing shows enough pixels; here the camera's pose is noted too."""
        picture = self.picture()
        self._T_world_camera = picture.T_world_camera
        return all((picture.ids == t.body).sum() >= MIN_VISIBLE_PX for t in self.things)


def _add_thing(p: Placement, client: int) -> int:
    """Puts one thing with mass on the table and returns its body id."""
    shape = shape_of(p, SCALE)
    body = int(
        pybullet.createMultiBody(
            MASS_KG,
            _collision(p.kind, shape, client),
            add_visual(shape, p.rgba, client),
            [p.xy_m[0] * SCALE, p.xy_m[1] * SCALE, shape.height_m],
            shape.turn_xyzw,
            baseInertialFramePosition=_balance_m(p.kind, shape),
            physicsClientId=client,
        )
    )
    uncover(body, shape, p.rgba, client)
    pybullet.changeDynamics(
        body,
        -1,
        lateralFriction=0.9,
        spinningFriction=0.005,
        rollingFriction=0.0005,
        physicsClientId=client,
    )
    return body


def _collision(kind: str, shape: ObjectShape, client: int) -> int:
    """What a thing feels like: convex parts that together have its form, hole and handle too."""
    arguments = dict(shape.arguments)
    if kind == "ring":
        return _ring_collision(shape, client)
    if kind == "duck":  # the same duck in convex parts
        arguments["fileName"] = os.path.join(pybullet_data.getDataPath(), "duck_vhacd.obj")
    if "length" in arguments:
        arguments["height"] = arguments.pop("length")
    return int(pybullet.createCollisionShape(**arguments, physicsClientId=client))


def _ring_collision(shape: ObjectShape, client: int) -> int:
    """A wreath of balls as thick as the ring: its mesh lies in the plane y = 0."""
    scale = shape.arguments["meshScale"][0]
    angles = np.linspace(0, 2 * np.pi, _RING_PARTS, endpoint=False)
    middles = [[0.5 * scale * np.cos(a), 0.0, 0.5 * scale * np.sin(a)] for a in angles]
    return int(
        pybullet.createCollisionShapeArray(
            shapeTypes=[pybullet.GEOM_SPHERE] * _RING_PARTS,
            radii=[0.25 * scale] * _RING_PARTS,
            collisionFramePositions=middles,
            physicsClientId=client,
        )
    )


# Middle of the meshes in their own units; a duck's and a bunny's weight sits low.
_MESH_MIDDLES = {
    "mug": (0.0, 0.0, 0.045),
    "duck": (-0.1, 0.7, 0.03),
    "ring": (0.0, 0.0, 0.0),
    "bunny": (0.0, -0.1, 0.03),
}


def _balance_m(kind: str, shape: ObjectShape) -> list[float]:
    """Where a thing's weight sits, in its own frame."""
    scale: Any = shape.arguments.get("meshScale", [1.0])[0]
    return [float(x * scale) for x in _MESH_MIDDLES.get(kind, (0.0, 0.0, 0.0))]


def main() -> None:
    """Command line: draws the world of one seed as camera and onlooker see it."""
    parser = argparse.ArgumentParser(description="Draw the world of one seed for gripping.")
    parser.add_argument("seed", type=int)
    parser.add_argument("--out", type=Path, default=Path("world.png"), help="PNG to write")
    args = parser.parse_args()
    from PIL import Image

    with GraspWorld(args.seed) as world:
        pictures = [world.picture().rgb, world.onlooker_picture(_PICTURE_HW)]
        print(", ".join(thing.name for thing in world.things))
    Image.fromarray(np.hstack(pictures)).save(args.out)


if __name__ == "__main__":
    main()
