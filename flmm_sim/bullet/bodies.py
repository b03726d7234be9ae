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

"""Bodies of the things on the table: what they look like, what they collide with, how they weigh.

A `Placement` says what stands where; here it becomes a body in a PyBullet world, at any scale, so
that the tabletop that is only looked at and the one that is gripped in show the same things.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pybullet
import pybullet_data

from flmm_sim.tabletop.placements import Placement

DATA = Path(pybullet_data.getDataPath())
MASS_KG = 0.06
_RING_PARTS = 16
_Quaternion = tuple[float, float, float, float]  # x, y, z, w


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
# Centre of mass of the meshes in their own units; a duck's and a bunny's weight sits low.
_MESH_CENTERS_OF_MASS = {
    "mug": (0.0, 0.0, 0.045),
    "duck": (-0.1, 0.7, 0.03),
    "ring": (0.0, 0.0, 0.0),
    "bunny": (0.0, -0.1, 0.03),
}


@dataclass(frozen=True)
class _BodyShape:
    """Arguments for createVisualShape, height of the body's origin, its orientation."""

    arguments: dict[str, Any]
    height_m: float
    orientation: _Quaternion
    is_mesh: bool


def _shape_of(p: Placement, scale: float = 1.0) -> _BodyShape:
    """The shape of a thing, `scale` times as large as its placement says."""
    size_m = p.size_m * scale
    if p.kind not in _MESHES:
        arguments, height_m = _simple_shape(p.kind, size_m)
        turn = pybullet.getQuaternionFromEuler([0, 0, p.yaw_rad])
        return _BodyShape(arguments, height_m, turn, is_mesh=False)
    mesh = _MESHES[p.kind]
    times = size_m * mesh.scale
    arguments = {
        "shapeType": pybullet.GEOM_MESH,
        "fileName": str(DATA / mesh.file),
        "meshScale": [times] * 3,
    }
    if any(mesh.middle):
        arguments["visualFramePosition"] = [-x * times for x in mesh.middle]
    turn = pybullet.getQuaternionFromEuler([np.pi / 2 if mesh.is_lying else 0, 0, p.yaw_rad])
    return _BodyShape(arguments, size_m * mesh.height, turn, is_mesh=True)


def _simple_shape(kind: str, size_m: float) -> tuple[dict[str, Any], float]:
    """Arguments of a shape without a mesh, and the height of its middle."""
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


def add_visible_body(p: Placement, client: int) -> int:
    """Puts a thing that is only looked at on the table; returns its body id."""
    shape = _shape_of(p)
    return int(
        pybullet.createMultiBody(
            0,
            -1,
            _add_visual(shape, p, client),
            [*p.xy_m, shape.height_m],
            shape.orientation,
            physicsClientId=client,
        )
    )


def add_solid_body(p: Placement, scale: float, client: int) -> int:
    """Puts a thing with mass and friction on the table; returns its body id."""
    shape = _shape_of(p, scale)
    body = int(
        pybullet.createMultiBody(
            MASS_KG,
            _add_collision(p.kind, shape, client),
            _add_visual(shape, p, client),
            [p.xy_m[0] * scale, p.xy_m[1] * scale, shape.height_m],
            shape.orientation,
            baseInertialFramePosition=_center_of_mass_m(p.kind, shape),
            physicsClientId=client,
        )
    )
    paint(body, p, client)
    pybullet.changeDynamics(
        body,
        -1,
        lateralFriction=0.9,
        spinningFriction=0.005,
        rollingFriction=0.0005,
        physicsClientId=client,
    )
    return body


def paint(body: int, p: Placement, client: int, texture_id: int = -1) -> None:
    """Replaces a mesh's own texture, which multiplies the colour: a blue duck would turn black.

    texture_id: of the pattern that comes in its place, -1 for none.
    """
    if p.kind in _MESHES or texture_id >= 0:
        pybullet.changeVisualShape(
            body, -1, textureUniqueId=texture_id, rgbaColor=list(p.rgba), physicsClientId=client
        )


def _add_visual(shape: _BodyShape, p: Placement, client: int) -> int:
    return int(
        pybullet.createVisualShape(
            **shape.arguments, rgbaColor=list(p.rgba), physicsClientId=client
        )
    )


def _add_collision(kind: str, shape: _BodyShape, client: int) -> int:
    """Convex parts that together have a thing's form, hole and handle too."""
    arguments = dict(shape.arguments)
    if kind == "ring":
        return _add_ring_collision(shape, client)
    if kind == "duck":  # the same duck in convex parts
        arguments["fileName"] = str(DATA / "duck_vhacd.obj")
    if "length" in arguments:
        arguments["height"] = arguments.pop("length")
    return int(pybullet.createCollisionShape(**arguments, physicsClientId=client))


def _add_ring_collision(shape: _BodyShape, client: int) -> int:
    """A circle of balls as thick as the ring: its mesh lies in the plane y = 0."""
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


def _center_of_mass_m(kind: str, shape: _BodyShape) -> list[float]:
    """Where a thing's weight sits, in its own frame."""
    scale: Any = shape.arguments.get("meshScale", [1.0])[0]
    return [float(x * scale) for x in _MESH_CENTERS_OF_MASS.get(kind, (0.0, 0.0, 0.0))]
