"""How the simulated table is looked at: its shade, the camera's place, the light, and the picture.

`Look` is one way to look, `draw_look` draws one, `take_picture` renders it with PyBullet's software
renderer, at any scale of the world: everything smaller, camera included, is the same picture.
Does not know about: which things stand there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pybullet
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX = 320, 240
NEAR_M, FAR_M = 0.05, 5.0
FOV_DEG = 42.0  # from the picture's upper to its lower edge
_MIDDLE_M = (0.0, 0.01, 0.02)  # what the camera looks at


@dataclass(frozen=True)
class Look:
    """One way to look at the table; metres of the full world, angles as PyBullet has them."""

    shade: tuple[float, float, float]  # of the table, RGB
    distance_m: float
    yaw_deg: float
    pitch_deg: float
    light: tuple[float, float, float]  # direction the light comes from
    ambient: float
    diffuse: float


@dataclass(frozen=True)
class Picture:
    """rgb uint8 [H, W, 3], depth_m float32 [H, W], ids int [H, W] of bodies, -1 where nothing is;
    K and T_world_camera as in `TabletopScene`."""

    rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    ids: NDArray[np.int_]
    K: NDArray[np.float64]
    T_world_camera: NDArray[np.float64]


def draw_look(rng: np.random.Generator) -> Look:
    """A random way to look. The order of the draws is part of what a seed means."""
    shade = np.clip(rng.uniform(0.35, 0.75) + rng.uniform(-0.06, 0.06, 3), 0, 1)
    distance_m, yaw_deg = rng.uniform(0.62, 0.8), rng.uniform(-22, 22)
    pitch_deg = rng.uniform(-65, -42)
    light = rng.uniform([-1, -1, 1], [1, 1, 2])
    ambient, diffuse = rng.uniform(0.5, 0.7), rng.uniform(0.3, 0.5)
    return Look(
        (float(shade[0]), float(shade[1]), float(shade[2])),
        float(distance_m),
        float(yaw_deg),
        float(pitch_deg),
        (float(light[0]), float(light[1]), float(light[2])),
        float(ambient),
        float(diffuse),
    )


def add_table(look: Look, client: int, collision: int = -1) -> int:
    """The table, its top at height 0; returns its body id."""
    visual = pybullet.createVisualShape(
        pybullet.GEOM_BOX,
        halfExtents=[1.2, 1.2, 0.01],
        rgbaColor=[*look.shade, 1],
        physicsClientId=client,
    )
    return int(
        pybullet.createMultiBody(0, collision, visual, [0, 0, -0.01], physicsClientId=client)
    )


def view_matrix(look: Look, scale: float = 1.0) -> tuple[float, ...]:
    """OpenGL's view matrix, column by column, 16 numbers."""
    middle_m = [x * scale for x in _MIDDLE_M]
    matrix = pybullet.computeViewMatrixFromYawPitchRoll(
        middle_m, look.distance_m * scale, look.yaw_deg, look.pitch_deg, 0, 2
    )
    return tuple(matrix)


def take_picture(look: Look, size_hw: tuple[int, int], client: int, scale: float = 1.0) -> Picture:
    """Renders the physics world `client`, of which every length is `scale` times the full one."""
    height_px, width_px = size_hw
    near_m, far_m = NEAR_M * scale, FAR_M * scale
    view = view_matrix(look, scale)
    _, _, rgba, depth, ids = pybullet.getCameraImage(
        width_px,
        height_px,
        view,
        pybullet.computeProjectionMatrixFOV(FOV_DEG, width_px / height_px, near_m, far_m),
        renderer=pybullet.ER_TINY_RENDERER,
        lightDirection=list(look.light),
        lightAmbientCoeff=look.ambient,
        lightDiffuseCoeff=look.diffuse,
        lightSpecularCoeff=0.05,
        shadow=1,
        physicsClientId=client,
    )
    buffer = np.reshape(np.asarray(depth, np.float64), size_hw)
    # The renderer samples whole pixel coordinates, then turns the picture upside down: that
    # puts the axis on row H/2 - 1. Measured: the table lies at z = 0 within a micrometre.
    cx_px, cy_px = width_px / 2, height_px / 2 - 1
    focal_px = height_px / 2 / np.tan(np.radians(FOV_DEG) / 2)
    return Picture(
        rgb=np.ascontiguousarray(np.reshape(rgba, (*size_hw, 4))[..., :3].astype(np.uint8)),
        depth_m=(far_m * near_m / (far_m - (far_m - near_m) * buffer)).astype(np.float32),
        ids=np.reshape(ids, size_hw),
        K=np.array([[focal_px, 0, cx_px], [0, focal_px, cy_px], [0, 0, 1]]),
        T_world_camera=_optical_pose(view),
    )


def _optical_pose(view: tuple[float, ...]) -> NDArray[np.float64]:
    """World pose of the camera (x right, y down, z forward) from an OpenGL view matrix."""
    T_camera_world = np.array(view, np.float64).reshape(4, 4).T
    T_world_gl = np.linalg.inv(T_camera_world)
    return T_world_gl @ np.diag([1.0, -1.0, -1.0, 1.0])
