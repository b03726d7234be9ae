"""Poses as 4x4 matrices and as geometry messages. Does not know about: frames, targets."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from numpy.typing import NDArray


def quaternion_of(R: NDArray[np.float64]) -> NDArray[np.float64]:
    """x, y, z, w of a rotation [3, 3], length 1, w >= 0.

    The eigenvector of a symmetric matrix: no case is near a division by zero.
    """
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(R, np.float64)
    K = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    quaternion = np.linalg.eigh(K)[1][:, -1]
    return np.asarray(-quaternion if quaternion[3] < 0 else quaternion)


def rotation_of(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    """The rotation [3, 3] of a quaternion of any length but 0."""
    x, y, z, w = np.array([x, y, z, w]) / np.linalg.norm([x, y, z, w])
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


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
    """[4, 4] of a geometry_msgs Pose or Transform."""
    is_pose = hasattr(pose, "position")
    place = pose.position if is_pose else pose.translation
    turn = pose.orientation if is_pose else pose.rotation
    T = np.eye(4)
    T[:3, :3] = rotation_of(turn.x, turn.y, turn.z, turn.w)
    T[:3, 3] = place.x, place.y, place.z
    return T
