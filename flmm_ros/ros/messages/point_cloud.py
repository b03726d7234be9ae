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

"""Coloured points as a PointCloud2."""

from __future__ import annotations

import array

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header


def cloud_to_msg(
    points_m: NDArray[np.float32],
    colors: NDArray[np.uint8],
    T_frame_camera: NDArray[np.float64],
    header: Header,
) -> PointCloud2:
    """Points [P, 3] of the camera's frame with RGB [P, 3]: fields x, y, z, rgb, float32 each."""
    moved = points_m.astype(np.float64) @ T_frame_camera[:3, :3].T + T_frame_camera[:3, 3]
    packed = np.empty((len(points_m), 4), "<f4")
    packed[:, :3] = moved
    red, green, blue = colors.astype(np.uint32).T
    packed[:, 3] = (red << 16 | green << 8 | blue).astype("<u4").view("<f4")
    msg = PointCloud2(header=header, height=1, width=len(points_m), point_step=16)
    msg.row_step, msg.is_bigendian, msg.is_dense = 16 * len(points_m), False, True
    msg.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "rgb"))
    ]
    msg.data = array.array("B", packed.tobytes())
    return msg
