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

"""Poses as 4x4 matrices and as geometry messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


def quaternion_of(R: NDArray[np.float64]) -> NDArray[np.float64]:
    """x, y, z, w of a rotation [3, 3], length 1, w >= 0."""
    quaternion = Rotation.from_matrix(np.asarray(R, np.float64)).as_quat()
    return np.asarray(-quaternion if quaternion[3] < 0 else quaternion)


def rotation_of(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    """The rotation [3, 3] of a quaternion of any length but 0.

    Raises:
        ValueError: its length is 0, as in a message whose orientation nobody filled in.
    """
    if not any((x, y, z, w)):
        raise ValueError("expected a quaternion x, y, z, w with a length, got four zeros")
    return np.asarray(Rotation.from_quat([x, y, z, w]).as_matrix())


def point_to_msg(point_m: NDArray[np.float64]) -> Point:
    """A place [3]."""
    x, y, z = map(float, point_m)
    return Point(x=x, y=y, z=z)


def vector_to_msg(vector: NDArray[np.float64]) -> Vector3:
    """A direction or a size [3]."""
    x, y, z = map(float, vector)
    return Vector3(x=x, y=y, z=z)


def pose_to_msg(T: NDArray[np.float64]) -> Pose:
    """A pose [4, 4]."""
    x, y, z, w = map(float, quaternion_of(T[:3, :3]))
    return Pose(position=point_to_msg(T[:3, 3]), orientation=Quaternion(x=x, y=y, z=z, w=w))


def matrix_of(pose: Any) -> NDArray[np.float64]:
    """[4, 4] of a geometry_msgs Pose or Transform.

    Raises:
        ValueError: its quaternion is four zeros.
    """
    is_pose = hasattr(pose, "position")
    position = pose.position if is_pose else pose.translation
    orientation = pose.orientation if is_pose else pose.rotation
    T = np.eye(4)
    T[:3, :3] = rotation_of(orientation.x, orientation.y, orientation.z, orientation.w)
    T[:3, 3] = position.x, position.y, position.z
    return T
