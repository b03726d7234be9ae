"""What stands on the simulated table: colours, kinds, where things are put, and their shapes.

`Placement` says what stands where; `draw_placements` draws some, `draw_crowd` many; `shape_of` is a
thing's body in PyBullet's terms, at any scale, so that the world that is only looked at
(tabletop.py) and the one that is gripped in (grasp_world.py) show the same things.
Does not know about: cameras, pictures, physics.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import pybullet
import pybullet_data

from flmm_sim.tabletop.textures import PATTERNS

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
CROWD_KINDS: tuple[str, ...] = ("bear", "brick", "plank", "plate")  # only crowds have these
ALL_KINDS: tuple[str, ...] = (*KINDS, *CROWD_KINDS)
PLAIN_KINDS = frozenset(["bear", "brick"])  # their meshes say nothing of where a pattern goes
PATTERNED = 0.4  # share of a crowd's other things that have a pattern
GAP_M = 0.115  # least distance of two things, middle to middle
CROWD_GAP = 1.25  # least distance of two things of a crowd, in sums of their sizes: they may hide
# parts of each other


@dataclass(frozen=True)
class Placement:
    """One thing: what it is, its colour as drawn, and where it stands; metres of the full world."""

    kind: str
    color: str
    rgba: tuple[float, float, float, float]
    xy_m: tuple[float, float]
    size_m: float
    yaw_rad: float
    pattern: str | None = None  # light and dark over its colour, a name of tabletop_textures.py

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
        rgba = _tint(color, rng)
        placements.append(
            Placement(
                kind=kind,
                color=color,
                rgba=rgba,
                xy_m=(float(xy[0]), float(xy[1])),
                size_m=float(rng.uniform(0.038, 0.052)),
                yaw_rad=float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return placements


def draw_crowd(rng: np.random.Generator) -> list[Placement]:
    """4 to 10 things of all kinds close together, some patterned, some hidden in part; every pair
    of colour and kind at most once."""
    wanted = int(rng.integers(4, 11))
    names = list(COLORS)
    placements: list[Placement] = []
    for _ in range(400):
        if len(placements) == wanted:
            break
        # Often one more of a kind or a colour that is there: such things are told apart by the
        # other word, or by their places.
        like = placements[int(rng.integers(len(placements)))] if placements else None
        choice = rng.random()
        kind = like.kind if like and choice < 0.25 else ALL_KINDS[rng.integers(len(ALL_KINDS))]
        color = like.color if like and choice > 0.8 else names[rng.integers(len(names))]
        xy, size_m = rng.uniform([-0.27, -0.19], [0.27, 0.21]), float(rng.uniform(0.028, 0.042))
        if any(p.kind == kind and p.color == color for p in placements):
            continue
        if any(np.linalg.norm(xy - p.xy_m) < CROWD_GAP * (size_m + p.size_m) for p in placements):
            continue
        rgba = _tint(color, rng)
        has_pattern = rng.random() < PATTERNED and kind not in PLAIN_KINDS
        placements.append(
            Placement(
                kind=kind,
                color=color,
                rgba=rgba,
                xy_m=(float(xy[0]), float(xy[1])),
                size_m=size_m,
                yaw_rad=float(rng.uniform(0, 2 * np.pi)),
                pattern=str(rng.choice(list(PATTERNS))) if has_pattern else None,
            )
        )
    return placements


def _tint(color: str, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A shade of a colour, RGBA: no two things are painted quite alike."""
    tint = np.clip(np.array(COLORS[color]) + rng.uniform(-0.06, 0.06, 3), 0, 1)
    return (float(tint[0]), float(tint[1]), float(tint[2]), 1.0)


@dataclass(frozen=True)
class _Mesh:
    """A mesh of PyBullet's data: its scale and the height of its origin in sizes of the thing,
    where its middle lies in its own units, whether it has to be put upright."""

    file: str
    scale: float
    height: float = 0.0
    middle: tuple[float, float, float] = (0.0, 0.0, 0.0)
    is_lying: bool = False


_MESHES: dict[str, _Mesh] = {
    "mug": _Mesh("objects/mug_col.obj", 1 / 0.045),
    "duck": _Mesh("duck.obj", 1 / 0.7, is_lying=True),
    "ring": _Mesh("torus/torus_textured.obj", 1.6, 0.4, is_lying=True),
    "bunny": _Mesh("bunny.obj", 1.35, 0.9, is_lying=True),
    "bear": _Mesh("teddy2_VHACD_CHs.obj", 2.8, middle=(0.68, 0.66, 0.0)),
    "brick": _Mesh("lego/lego.obj", 7.0, middle=(0.159, 0.115, -0.317)),
}


def shape_of(p: Placement, scale: float = 1.0) -> ObjectShape:
    """The body of a thing, `scale` times as large as its placement says."""
    size_m = p.size_m * scale
    if p.kind not in _MESHES:
        arguments, height_m = _simple(p.kind, size_m)
        turn = pybullet.getQuaternionFromEuler([0, 0, p.yaw_rad])
        return ObjectShape(arguments, height_m, turn, None)
    mesh = _MESHES[p.kind]
    times = size_m * mesh.scale
    arguments = {
        "shapeType": pybullet.GEOM_MESH,
        "fileName": os.path.join(pybullet_data.getDataPath(), mesh.file),
        "meshScale": [times] * 3,
    }
    if any(mesh.middle):
        arguments["visualFramePosition"] = [-x * times for x in mesh.middle]
    turn = pybullet.getQuaternionFromEuler([np.pi / 2 if mesh.is_lying else 0, 0, p.yaw_rad])
    return ObjectShape(arguments, size_m * mesh.height, turn, (mesh.file, times))


def _simple(kind: str, size_m: float) -> tuple[dict[str, Any], float]:
    """Arguments of a body without a mesh, and the height of its middle."""
    box, sphere = pybullet.GEOM_BOX, pybullet.GEOM_SPHERE
    if kind == "cube":
        return {"shapeType": box, "halfExtents": [size_m * 0.95] * 3}, size_m * 0.95
    if kind == "plank":
        half_m = [size_m * 1.6, size_m * 0.45, size_m * 0.3]
        return {"shapeType": box, "halfExtents": half_m}, half_m[2]
    if kind == "ball":
        return {"shapeType": sphere, "radius": size_m}, size_m
    radius, length = (0.65, 2.7) if kind == "cylinder" else (1.3, 0.4)  # or a plate
    round_ = {"radius": size_m * radius, "length": size_m * length}
    return {"shapeType": pybullet.GEOM_CYLINDER, **round_}, size_m * length / 2


def add_visual(shape: ObjectShape, rgba: tuple[float, ...], client: int) -> int:
    """The visual shape of a body in a physics world; `uncover` belongs to it."""
    return int(
        pybullet.createVisualShape(**shape.arguments, rgbaColor=list(rgba), physicsClientId=client)
    )


def uncover(
    body: int, shape: ObjectShape, rgba: tuple[float, ...], client: int, pattern_id: int = -1
) -> None:
    """Takes a mesh's texture off: it multiplies the colour, and a blue duck would turn black.

    pattern_id: of the texture that comes in its place, -1 for none.
    """
    if shape.mesh is not None or pattern_id >= 0:
        pybullet.changeVisualShape(
            body, -1, textureUniqueId=pattern_id, rgbaColor=list(rgba), physicsClientId=client
        )
