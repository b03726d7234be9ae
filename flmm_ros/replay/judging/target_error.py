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

"""How far the target that a gripper would be sent to is from the true one.

The target is the engine's: the middle of the surface that it finds under a mask. The true one is
the middle of all points under the true mask.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import ConfigError, TargetError
from flmm_ros.engine.targets.range_image import RangeImage
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.ros.depth.camera_model import intrinsics_from_msg
from flmm_ros.ros.depth.depth_decoding import depth_m_from_msg


def target_error_m(
    mask: NDArray[np.bool_], true: NDArray[np.bool_], depth: Any, camera_info: Any
) -> float | None:
    """Metres between the two; None: one of the masks has too little depth.

    mask, true: [H, W]. depth, camera_info: the fields of the messages, of the same camera.

    Raises:
        ConfigError: the messages cannot be used, or are of another size.
    """
    size_hw = (mask.shape[0], mask.shape[1])
    try:
        depth_m = depth_m_from_msg(depth)
        intrinsics = intrinsics_from_msg(camera_info, size_hw)
        if depth_m.shape != size_hw:
            raise TargetError(f"depth: expected the size {size_hw}, got {depth_m.shape}")
    except TargetError as error:
        raise ConfigError(f"topics: {error}") from error
    image = RangeImage(depth_m, intrinsics, TargetConfig(grasps=False))
    true_points = image.points_m[true & image.valid]
    try:
        found_m = image.target(mask).centroid_m
    except TargetError:  # too little depth under the mask
        return None
    if not len(true_points):
        return None
    return float(np.linalg.norm(found_m - true_points.mean(axis=0)))
