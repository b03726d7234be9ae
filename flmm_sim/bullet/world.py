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

"""One headless PyBullet world: a table, things on it, pictures, and time that passes in steps."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pybullet
from numpy.typing import NDArray
from PIL import Image

from flmm_sim.bullet import bodies
from flmm_sim.tabletop.camera import (
    FAR_M,
    FOV_DEG,
    LOOK_AT_M,
    NEAR_M,
    Look,
    Picture,
    intrinsics,
    optical_pose,
)
from flmm_sim.tabletop.placements import Placement
from flmm_sim.tabletop.textures import texture

STEP_S = 1 / 240  # of physics
_ONLOOKER_AT_M, _ONLOOKER_LOOKS_AT_M, _ONLOOKER_FOV_DEG = [0.55, -0.75, 0.55], [-0.12, 0, 0.15], 45


class BulletWorld:
    """A physics world. Not thread-safe, one per thread. A context manager: leaving it frees it.

    Raises:
        RuntimeError: PyBullet has no room for another world.
    """

    def __init__(self) -> None:
        self._textures = tempfile.TemporaryDirectory(prefix="tabletop_")
        self.client = int(pybullet.connect(pybullet.DIRECT))
        if self.client < 0:
            raise RuntimeError("PyBullet refused a headless (DIRECT) connection")

    def close(self) -> None:
        """Frees the world."""
        if self.client >= 0:
            pybullet.disconnect(self.client)
            self.client = -1
            self._textures.cleanup()

    def reset(self) -> None:
        """Removes everything."""
        pybullet.resetSimulation(physicsClientId=self.client)

    def start_physics(self) -> None:
        """From now on things are heavy and `step` lets time pass."""
        pybullet.setGravity(0, 0, -9.81, physicsClientId=self.client)
        pybullet.setPhysicsEngineParameter(
            fixedTimeStep=STEP_S, numSolverIterations=100, physicsClientId=self.client
        )

    def step(self) -> None:
        """Lets STEP_S pass."""
        pybullet.stepSimulation(physicsClientId=self.client)

    def add_table(self, look: Look, texture_name: str | None = None) -> int:
        """A table that is only looked at, its top at height 0; returns its body id."""
        table = self._add_table(look, -1)
        if texture_name is not None:
            pybullet.changeVisualShape(
                table,
                -1,
                textureUniqueId=self._load_texture(texture_name),
                rgbaColor=[*look.shade, 1],
                physicsClientId=self.client,
            )
        return table

    def add_solid_table(self, look: Look) -> int:
        """A table that carries things; returns its body id."""
        plate = pybullet.createCollisionShape(
            pybullet.GEOM_BOX, halfExtents=[1.2, 1.2, 0.01], physicsClientId=self.client
        )
        table = self._add_table(look, plate)
        pybullet.changeDynamics(table, -1, lateralFriction=0.8, physicsClientId=self.client)
        return table

    def _add_table(self, look: Look, collision: int) -> int:
        visual = pybullet.createVisualShape(
            pybullet.GEOM_BOX,
            halfExtents=[1.2, 1.2, 0.01],
            rgbaColor=[*look.shade, 1],
            physicsClientId=self.client,
        )
        return int(
            pybullet.createMultiBody(
                0, collision, visual, [0, 0, -0.01], physicsClientId=self.client
            )
        )

    def add_visible(self, p: Placement) -> int:
        """A thing that is only looked at, with its pattern; returns its body id."""
        body = bodies.add_visible_body(p, self.client)
        texture_id = self._load_texture(p.pattern) if p.pattern else -1
        bodies.paint(body, p, self.client, texture_id)
        return body

    def add_solid(self, p: Placement, scale: float) -> int:
        """A thing with mass, every length `scale` times that of its placement; its body id."""
        return bodies.add_solid_body(p, scale, self.client)

    def _load_texture(self, name: str) -> int:
        """The id of a texture; ids do not outlive `reset`. PyBullet reads textures from files."""
        path = Path(self._textures.name) / f"{name}.png"
        if not path.exists():
            Image.fromarray(texture(name)).save(path)
        return int(pybullet.loadTexture(str(path), physicsClientId=self.client))

    def position_m(self, body: int) -> NDArray[np.float64]:
        """Where the centre of mass of a body is in the world, now, [3]."""
        position, _ = pybullet.getBasePositionAndOrientation(body, physicsClientId=self.client)
        return np.array(position)

    def picture(self, look: Look, size_hw: tuple[int, int], scale: float = 1.0) -> Picture:
        """What the camera sees; every length of the world is `scale` times that of `look`."""
        height_px, width_px = size_hw
        near_m, far_m = NEAR_M * scale, FAR_M * scale
        view = tuple(
            pybullet.computeViewMatrixFromYawPitchRoll(
                [x * scale for x in LOOK_AT_M],
                look.distance_m * scale,
                look.yaw_deg,
                look.pitch_deg,
                0,
                2,
            )
        )
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
            physicsClientId=self.client,
        )
        buffer = np.reshape(np.asarray(depth, np.float64), size_hw)
        return Picture(
            rgb=np.ascontiguousarray(np.reshape(rgba, (*size_hw, 4))[..., :3].astype(np.uint8)),
            depth_m=(far_m * near_m / (far_m - (far_m - near_m) * buffer)).astype(np.float32),
            ids=np.reshape(ids, size_hw),
            # The renderer samples whole pixel coordinates, then turns the picture upside down: that
            # puts the axis on row H/2 - 1. Measured: the table lies at z = 0 within a micrometre.
            K=intrinsics(size_hw, (width_px / 2, height_px / 2 - 1)),
            T_world_camera=optical_pose(view),
        )

    def onlooker_picture(self, look: Look, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """The whole scene, arm included, from a place where people would stand: RGB [H, W, 3]."""
        height_px, width_px = size_hw
        view = pybullet.computeViewMatrix(_ONLOOKER_AT_M, _ONLOOKER_LOOKS_AT_M, [0, 0, 1])
        projection = pybullet.computeProjectionMatrixFOV(
            _ONLOOKER_FOV_DEG, width_px / height_px, NEAR_M, FAR_M
        )
        rgba = pybullet.getCameraImage(
            width_px,
            height_px,
            view,
            projection,
            renderer=pybullet.ER_TINY_RENDERER,
            lightDirection=list(look.light),
            shadow=1,
            physicsClientId=self.client,
        )[2]
        return np.reshape(rgba, (height_px, width_px, 4))[..., :3].astype(np.uint8)
