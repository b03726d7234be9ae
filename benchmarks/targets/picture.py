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

"""Draws what the engine makes of depth: boxes, their axes and the best grasps, on a tabletop scene.

    python -m benchmarks.targets.picture 1000025 --out docs/targets.png

The masks are the simulator's, so that the picture shows geometry and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from flmm_ros.cli.command_line import run_command
from flmm_ros.engine.masks.overlay import color_of
from flmm_ros.engine.targets.range_image import RangeImage
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Box, Grasp, Intrinsics, Target
from flmm_sim.tabletop.tabletop import Tabletop, TabletopScene

AXES = ((230, 40, 40), (40, 170, 40), (50, 80, 240))  # x red, y green, z blue
AXIS_M = 0.05
WIDTH_PX, HEIGHT_PX = 960, 720


def targets_of(scene: TabletopScene, config: TargetConfig | None = None) -> list[Target]:
    """The target of every object of a scene, from its true mask."""
    camera = Intrinsics(scene.K[0, 0], scene.K[1, 1], scene.K[0, 2], scene.K[1, 2])
    image = RangeImage(scene.depth_m, camera, config)
    masks = [scene.mask(obj) for obj in scene.objects]
    return [image.target(mask, [other for other in masks if other is not mask]) for mask in masks]


def draw_targets(scene: TabletopScene, targets: Sequence[Target]) -> NDArray[np.uint8]:
    """The scene with each target's box, the axes of its middle, and its best grasp."""
    picture = np.ascontiguousarray(scene.rgb)
    for number, target in enumerate(targets):
        _draw_box(picture, target.box, scene.K, color_of(number))
        _draw_axes(picture, target.box.T_camera_box, scene.K, AXIS_M)
        if target.grasps:
            _draw_gripper(picture, target.grasps[0], scene.K)
    return picture


def _draw_box(
    picture: NDArray[np.uint8], box: Box, K: NDArray[np.float64], color: tuple[int, int, int]
) -> None:
    corners = np.array(list(product((-0.5, 0.5), repeat=3)))
    pixels = _pixels(box.T_camera_box, corners * box.size_m, K)
    for a, b in product(range(8), repeat=2):
        if a < b and np.abs(corners[a] - corners[b]).sum() == 1:
            _line(picture, pixels[a], pixels[b], color, 2)


def _draw_axes(
    picture: NDArray[np.uint8],
    T: NDArray[np.float64],
    K: NDArray[np.float64],
    length_m: float,
) -> None:
    pixels = _pixels(T, np.vstack([np.zeros(3), length_m * np.eye(3)]), K)
    for axis, color in enumerate(AXES):
        _line(picture, pixels[0], pixels[1 + axis], color, 3)


def _draw_gripper(picture: NDArray[np.uint8], grasp: Grasp, K: NDArray[np.float64]) -> None:
    """Two fingers and what joins them, in white; the frame between the tips."""
    half, back = grasp.width_m / 2, -TargetConfig().finger_length_m
    points = np.array(
        [
            [0, -half, 0],
            [0, -half, back],
            [0, half, back],
            [0, half, 0],
            [0, 0, back],
            [0, 0, -0.08],
        ]
    )
    pixels = _pixels(grasp.T_camera_grasp, points, K)
    for a, b in ((0, 1), (1, 2), (2, 3), (4, 5)):
        _line(picture, pixels[a], pixels[b], (255, 255, 255), 3)


def _pixels(
    T: NDArray[np.float64], points_m: NDArray[np.float64], K: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where points [P, 3] of a frame are seen, [P, 2]."""
    seen = (points_m @ T[:3, :3].T + T[:3, 3]) @ K.T
    return np.asarray(seen[:, :2] / seen[:, 2:])


def _line(
    picture: NDArray[np.uint8],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    color: tuple[int, int, int],
    width_px: int,
) -> None:
    ends = [(round(float(x)), round(float(y))) for x, y in (start, end)]
    cv2.line(picture, ends[0], ends[1], color, width_px, cv2.LINE_AA)


def picture(
    seed: Annotated[int, typer.Argument(help="Which scene.")] = 1_000_025,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("targets.png"),
) -> None:
    """Draw boxes and grasps on a tabletop scene."""
    with Tabletop(WIDTH_PX, HEIGHT_PX) as table:
        scene = table.render(seed)
    targets = targets_of(scene)
    Image.fromarray(draw_targets(scene, targets)).save(out)
    for obj, target in zip(scene.objects, targets, strict=True):
        middle = scene.T_world_camera[:3] @ np.append(target.box.T_camera_box[:3, 3], 1)
        x, y, z = (f"{value:+.3f}" for value in middle)
        size = " x ".join(f"{value:.3f}" for value in target.box.size_m)
        best = f"width {target.grasps[0].width_m:.3f} m" if target.grasps else "no grasp"
        print(f"{obj.name:<16} at {x} {y} {z} m, {size} m, {best}")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status."""
    return run_command(picture, argv)


if __name__ == "__main__":
    sys.exit(main())
