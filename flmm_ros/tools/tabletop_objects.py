"""What stands on the simulated table: colours, kinds, where things are put, and their shapes.

`Placement` says what stands where; `draw_placements` draws some; `shape_of` is a thing's body in
PyBullet's terms, at any scale, so that the world that is only looked at (tabletop.py) and the one
that is gripped in (grasp_world.py) show the same things.
Does not know about: cameras, pictures, physics.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pybullet
import pybullet_data

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.10, 0.10),
    "green": (0.10, 0.62, 0.15),
    "blue": (0.10, 0.20, 0.85),
    "yellow": (0.93, 0.83, 0.10),
    "purple": (0.50, 0.10, 0.60),
    "orange": (0.98, 0.48, 0.05),
    "white": (0.95, 0.95, 0.95),
    "black": (0.08, 0.08, 0.08),
}
KINDS: tuple[str, ...] = ("cube", "ball", "cylinder", "mug", "duck", "ring", "bunny")
GAP_M = 0.115  # least distance of two things, middle to middle


@dataclass(frozen=True)
class Placement:
    """One thing: what it is, its colour as drawn, and where it stands; metres of the full world."""

    kind: str
    color: str
    rgba: tuple[float, float, float, float]
    xy_m: tuple[float, float]
    size_m: float
    yaw_rad: float

    @property
    def name(self) -> str:
        """The words for it: "red mug"."""
        return f"{self.color} {self.kind}"


@dataclass(frozen=True)
class ObjectShape:
    """A thing's body: arguments for createVisualShape, height of its origin, how it is turned.

    mesh: file below PyBullet's data and scale, None for a simple body. turn_xyzw: a quaternion.
    """

    arguments: dict[str, Any]
    height_m: float
    turn_xyzw: tuple[float, float, float, float]
    mesh: tuple[str, float] | None


def draw_placements(
    rng: np.random.Generator, gap_m: float = GAP_M, most: int = 6
) -> list[Placement]:
    """2 to `most` things at least `gap_m` apart, every pair of colour and kind at most once."""
    wanted = int(rng.integers(2, most + 1))
    names = list(COLORS)
    placements: list[Placement] = []
    for _ in range(200):
        if len(placements) == wanted:
            break
        kind = KINDS[rng.integers(len(KINDS))]
        color = names[rng.integers(len(names))]
        xy = rng.uniform([-0.27, -0.19], [0.27, 0.21])
        if any(p.kind == kind and p.color == color for p in placements):
            continue
        if any(np.linalg.norm(xy - p.xy_m) < gap_m for p in placements):
            continue
        tint = np.clip(np.array(COLORS[color]) + rng.uniform(-0.06, 0.06, 3), 0, 1)
        placements.append(
            Placement(
                kind=kind,
                color=color,
                rgba=(float(tint[0]), float(tint[1]), float(tint[2]), 1.0),
                xy_m=(float(xy[0]), float(xy[1])),
                size_m=float(rng.uniform(0.038, 0.052)),
                yaw_rad=float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return placements


def shape_of(p: Placement, scale: float = 1.0) -> ObjectShape:
    """The body of a thing, `scale` times as large as its placement says."""
    size = p.size_m * scale
    turn = pybullet.getQuaternionFromEuler([0, 0, p.yaw_rad])
    upright = pybullet.getQuaternionFromEuler([np.pi / 2, 0, p.yaw_rad])
    mesh: tuple[str, float] | None = None
    height_m = size
    shape: dict[str, Any] = {}
    if p.kind == "cube":
        shape = {"shapeType": pybullet.GEOM_BOX, "halfExtents": [size * 0.95] * 3}
        height_m = size * 0.95
    elif p.kind == "ball":
        shape = {"shapeType": pybullet.GEOM_SPHERE, "radius": size}
    elif p.kind == "cylinder":
        shape = {"shapeType": pybullet.GEOM_CYLINDER, "radius": size * 0.65, "length": size * 2.7}
        height_m = size * 1.35
    elif p.kind == "mug":
        mesh, height_m = ("objects/mug_col.obj", size / 0.045), 0.0
    elif p.kind == "duck":
        mesh, height_m, turn = ("duck.obj", size / 0.7), 0.0, upright
    elif p.kind == "ring":
        mesh, height_m, turn = ("torus/torus_textured.obj", size * 1.6), size * 0.4, upright
    elif p.kind == "bunny":
        mesh, height_m, turn = ("bunny.obj", size * 1.35), size * 0.9, upright
    if mesh is not None:
        shape = {
            "shapeType": pybullet.GEOM_MESH,
            "fileName": os.path.join(pybullet_data.getDataPath(), mesh[0]),
            "meshScale": [mesh[1]] * 3,
        }
    return ObjectShape(shape, height_m, turn, mesh)


def add_visual(shape: ObjectShape, rgba: tuple[float, ...], client: int) -> int:
    """The visual shape of a body in a physics world; `uncover` belongs to it."""
    return int(
        pybullet.createVisualShape(**shape.arguments, rgbaColor=list(rgba), physicsClientId=client)
    )


def uncover(body: int, shape: ObjectShape, rgba: tuple[float, ...], client: int) -> None:
    """Takes a mesh's texture off: it multiplies the colour, and a blue duck would turn black."""
    if shape.mesh is not None:
        pybullet.changeVisualShape(
            body, -1, textureUniqueId=-1, rgbaColor=list(rgba), physicsClientId=client
        )
