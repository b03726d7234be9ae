"""A simulated tabletop: a robot's camera over coloured objects, with the truth of every pixel.

Scenes are functions of an integer seed: the same seed gives the same picture, depth, masks and
object list on every machine with the same PyBullet, whose software renderer needs neither display
nor GPU.

    python -m flmm_ros.tools.tabletop 7 --out scene.png     # draw the scene of seed 7

Seeds, by convention: training below 1,000,000; evaluation from 1,000,000; never above 5,000,000.
Does not know about: models, ROS, language beyond the names of kinds and colours.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pybullet
import pybullet_data
from numpy.typing import NDArray

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

WIDTH_PX, HEIGHT_PX = 320, 240
MIN_VISIBLE_PX = 80  # an object that shows less than this is not counted as seen
NEAR_M, FAR_M = 0.05, 5.0


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


@dataclass(frozen=True)
class _Placement:
    kind: str
    color: str
    rgba: tuple[float, float, float, float]
    xy_m: tuple[float, float]
    size_m: float
    yaw_rad: float


class Tabletop:
    """Renders scenes by seed. Holds one PyBullet world; not thread-safe, one per thread."""

    def __init__(self, width_px: int = WIDTH_PX, height_px: int = HEIGHT_PX) -> None:
        self.width_px, self.height_px = width_px, height_px
        self._client = pybullet.connect(pybullet.DIRECT)
        if self._client < 0:
            raise RuntimeError("PyBullet refused a headless (DIRECT) connection")

    def close(self) -> None:
        """Frees the physics world."""
        if self._client >= 0:
            pybullet.disconnect(self._client)
            self._client = -1

    def __enter__(self) -> Tabletop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def render(self, seed: int) -> TabletopScene:
        """The scene of `seed`: 2 to 6 objects, every pair of colour and kind at most once."""
        rng = np.random.default_rng(seed)
        while True:  # an object nearly hidden by another would be a wrong truth: draw again
            placements = _draw_placements(rng)
            scene = self._render(seed, placements, rng)
            if len(scene.objects) == len(placements):
                return scene

    def _render(
        self, seed: int, placements: list[_Placement], rng: np.random.Generator
    ) -> TabletopScene:
        pybullet.resetSimulation(physicsClientId=self._client)
        shade = np.clip(rng.uniform(0.35, 0.75) + rng.uniform(-0.06, 0.06, 3), 0, 1)
        table = pybullet.createVisualShape(
            pybullet.GEOM_BOX,
            halfExtents=[1.2, 1.2, 0.01],
            rgbaColor=[*shade, 1],
            physicsClientId=self._client,
        )
        pybullet.createMultiBody(0, -1, table, [0, 0, -0.01], physicsClientId=self._client)
        bodies = [self._add(p) for p in placements]
        fov_deg = 42.0
        view = pybullet.computeViewMatrixFromYawPitchRoll(
            [0, 0.01, 0.02],
            rng.uniform(0.62, 0.8),
            rng.uniform(-22, 22),
            rng.uniform(-65, -42),
            0,
            2,
        )
        projection = pybullet.computeProjectionMatrixFOV(
            fov_deg, self.width_px / self.height_px, NEAR_M, FAR_M
        )
        light = rng.uniform([-1, -1, 1], [1, 1, 2]).tolist()
        _, _, rgba, depth, segmentation = pybullet.getCameraImage(
            self.width_px,
            self.height_px,
            view,
            projection,
            renderer=pybullet.ER_TINY_RENDERER,
            lightDirection=light,
            lightAmbientCoeff=rng.uniform(0.5, 0.7),
            lightDiffuseCoeff=rng.uniform(0.3, 0.5),
            lightSpecularCoeff=0.05,
            shadow=1,
            physicsClientId=self._client,
        )
        size = (self.height_px, self.width_px)
        ids = np.reshape(segmentation, size)
        buffer = np.reshape(np.asarray(depth, np.float64), size)
        labels, objects = _truth(ids, bodies, placements)
        # The renderer samples whole pixel coordinates, then turns the picture upside down: that
        # puts the axis on row H/2 - 1. Measured: the table lies at z = 0 within a micrometre.
        cx_px, cy_px = self.width_px / 2, self.height_px / 2 - 1
        focal_px = self.height_px / 2 / np.tan(np.radians(fov_deg) / 2)
        return TabletopScene(
            seed=seed,
            rgb=np.ascontiguousarray(np.reshape(rgba, (*size, 4))[..., :3].astype(np.uint8)),
            depth_m=(FAR_M * NEAR_M / (FAR_M - (FAR_M - NEAR_M) * buffer)).astype(np.float32),
            labels=labels,
            objects=objects,
            K=np.array([[focal_px, 0, cx_px], [0, focal_px, cy_px], [0, 0, 1]]),
            T_world_camera=_optical_pose(view),
        )

    def _add(self, p: _Placement) -> int:
        """Puts one object on the table and returns its body id."""
        client, size = self._client, p.size_m
        data = pybullet_data.getDataPath()
        turn = pybullet.getQuaternionFromEuler([0, 0, p.yaw_rad])
        upright = pybullet.getQuaternionFromEuler([np.pi / 2, 0, p.yaw_rad])
        mesh: tuple[str, float] | None = None
        height_m = size
        shape: dict[str, object] = {}
        if p.kind == "cube":
            shape = {"shapeType": pybullet.GEOM_BOX, "halfExtents": [size * 0.95] * 3}
            height_m = size * 0.95
        elif p.kind == "ball":
            shape = {"shapeType": pybullet.GEOM_SPHERE, "radius": size}
        elif p.kind == "cylinder":
            shape = {
                "shapeType": pybullet.GEOM_CYLINDER,
                "radius": size * 0.65,
                "length": size * 2.7,
            }
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
                "fileName": os.path.join(data, mesh[0]),
                "meshScale": [mesh[1]] * 3,
            }
        visual = pybullet.createVisualShape(**shape, rgbaColor=list(p.rgba), physicsClientId=client)
        body = pybullet.createMultiBody(
            0, -1, visual, [*p.xy_m, height_m], turn, physicsClientId=client
        )
        if mesh is not None:  # the wheel's textures multiply the colour: a blue duck turns black
            pybullet.changeVisualShape(
                body, -1, textureUniqueId=-1, rgbaColor=list(p.rgba), physicsClientId=client
            )
        return int(body)


def _draw_placements(rng: np.random.Generator) -> list[_Placement]:
    """2 to 6 objects at least 11 cm apart."""
    wanted = int(rng.integers(2, 7))
    names = list(COLORS)
    placements: list[_Placement] = []
    for _ in range(200):
        if len(placements) == wanted:
            break
        kind = KINDS[rng.integers(len(KINDS))]
        color = names[rng.integers(len(names))]
        xy = rng.uniform([-0.27, -0.19], [0.27, 0.21])
        if any(p.kind == kind and p.color == color for p in placements):
            continue
        if any(np.linalg.norm(xy - p.xy_m) < 0.115 for p in placements):
            continue
        tint = np.clip(np.array(COLORS[color]) + rng.uniform(-0.06, 0.06, 3), 0, 1)
        placements.append(
            _Placement(
                kind=kind,
                color=color,
                rgba=(float(tint[0]), float(tint[1]), float(tint[2]), 1.0),
                xy_m=(float(xy[0]), float(xy[1])),
                size_m=float(rng.uniform(0.038, 0.052)),
                yaw_rad=float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return placements


def _truth(
    ids: NDArray[np.int_], bodies: list[int], placements: list[_Placement]
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


def _optical_pose(view: tuple[float, ...]) -> NDArray[np.float64]:
    """World pose of the camera (x right, y down, z forward) from an OpenGL view matrix."""
    T_camera_world = np.array(view, np.float64).reshape(4, 4).T
    T_world_gl = np.linalg.inv(T_camera_world)
    return T_world_gl @ np.diag([1.0, -1.0, -1.0, 1.0])


def main() -> None:
    """Command line: draws the scene of one seed and prints what is in it."""
    parser = argparse.ArgumentParser(description="Draw the simulated tabletop of one seed.")
    parser.add_argument("seed", type=int)
    parser.add_argument("--out", type=Path, default=Path("scene.png"), help="PNG to write")
    parser.add_argument("--width", type=int, default=WIDTH_PX, help="pixels")
    parser.add_argument("--height", type=int, default=HEIGHT_PX, help="pixels")
    args = parser.parse_args()
    from PIL import Image

    with Tabletop(args.width, args.height) as table:
        scene = table.render(args.seed)
    Image.fromarray(scene.rgb).save(args.out)
    for obj in scene.objects:
        x, y = obj.center_px
        print(f"{obj.label}  {obj.name:<16} at ({x:.0f}, {y:.0f}) px, {obj.visible_px} px visible")


if __name__ == "__main__":
    main()
