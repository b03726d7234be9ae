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

"""What can be set about targets in space: which depth counts, and the gripper that is to close."""

from __future__ import annotations

from dataclasses import dataclass

from flmm_ros.engine.config.schema import check, setting


@dataclass(frozen=True)
class TargetConfig:
    """Lengths in metres of the world, or in pixels of the image."""

    max_depth_m: float = setting(
        5.0, "Metres. Depth beyond this does not count.", bounds=(0.05, 100.0), live=True
    )
    min_depth_px: int = setting(
        30,
        "Pixels with valid depth that an object needs to become a target.",
        bounds=(4, 1_000_000),
        live=True,
    )
    erosion_px: int = setting(
        2,
        "Width of the rim of a mask that only counts where its depth agrees with the inside: there "
        "masks reach over edges and cameras mix near and far.",
        bounds=(0, 50),
        live=True,
    )
    depth_gap_m: float = setting(
        0.03,
        "Metres. Neighbouring pixels whose depth differs by more belong to different things.",
        bounds=(0.001, 1.0),
        live=True,
    )
    grasps: bool = setting(True, "Seek grasps of a parallel gripper for each target.", live=True)
    max_grasps: int = setting(
        10, "Grasps that are reported, the best ones.", bounds=(1, 200), live=True
    )
    gripper_opening_m: float = setting(
        0.08, "Metres between the fingers when they are open.", bounds=(0.005, 1.0), live=True
    )
    finger_length_m: float = setting(
        0.045,
        "Metres from the palm to the finger tips: how deep an object can be between the fingers.",
        bounds=(0.005, 0.5),
        live=True,
    )
    finger_width_m: float = setting(
        0.02,
        "Metres along the finger pad, across the closing line.",
        bounds=(0.002, 0.2),
        live=True,
    )
    finger_thickness_m: float = setting(
        0.014, "Metres of one finger along the closing line.", bounds=(0.001, 0.1), live=True
    )
    finger_clearance_m: float = setting(
        0.005,
        "Metres that the finger tips keep from the plane below the object.",
        bounds=(0.0, 0.1),
        live=True,
    )

    def __post_init__(self) -> None:
        check(self)
