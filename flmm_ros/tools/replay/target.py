"""Where a mask's object is, in metres in front of the camera: what a gripper would be sent to.

Does not know about: recordings, what the mask is of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.types import ImageError

_MIN_POINTS = 10


def center_m(mask: NDArray[np.bool_], depth: Any, camera_info: Any) -> NDArray[np.float64] | None:
    """The median point [x, y, z] of a mask [H, W] in the camera's optical frame.

    depth: sensor_msgs/Image of the mask's size, 16UC1 millimetres or 32FC1 metres (REP 118).
    camera_info: sensor_msgs/CameraInfo of the same camera. None: too few valid depths.

    Raises:
        ImageError: another encoding or size.
    """
    depth_m = metres_from(depth)
    if depth_m.shape != mask.shape:
        raise ImageError(f"depth: expected the size {mask.shape} of the image, got {depth_m.shape}")
    with np.errstate(invalid="ignore"):
        valid = mask & np.isfinite(depth_m) & (depth_m > 0)
    if int(valid.sum()) < _MIN_POINTS:
        return None
    rows, columns = np.nonzero(valid)
    z = depth_m[valid].astype(np.float64)
    fx, _, cx, _, fy, cy = (float(v) for v in np.asarray(camera_info.k)[:6])
    points = np.stack(((columns - cx) * z / fx, (rows - cy) * z / fy, z), axis=1)
    return np.asarray(np.median(points, axis=0), np.float64)


def metres_from(depth: Any) -> NDArray[np.float32]:
    """A depth image in metres [H, W]; 0, NaN and infinity stay what they are: not known.

    Raises:
        ImageError: another encoding, or sizes that do not fit together.
    """
    dtypes = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
    if depth.encoding not in dtypes:
        raise ImageError(f"depth: expected 16UC1 or 32FC1, got {depth.encoding!r}")
    dtype = np.dtype((">" if depth.is_bigendian else "<") + dtypes[depth.encoding])
    row_bytes = depth.width * dtype.itemsize
    if depth.step < row_bytes or len(depth.data) != depth.height * depth.step:
        raise ImageError(
            f"depth: expected {depth.height} rows of at least {row_bytes} bytes, got "
            f"{len(depth.data)} bytes with a step of {depth.step}"
        )
    rows = np.frombuffer(depth.data, np.uint8).reshape(depth.height, depth.step)[:, :row_bytes]
    values = np.ascontiguousarray(rows).view(dtype)
    return (values * (1e-3 if dtype.kind == "u" else 1.0)).astype(np.float32)
