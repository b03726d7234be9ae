"""Targets -> messages, and back for robot programs: numbers, poses, clouds, markers.

Does not know about: topics, depth images, models.
"""

from __future__ import annotations

import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Pose, PoseArray, PoseStamped, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from flmm_ros.engine.masks.overlay import color_of
from flmm_ros.engine.targets.target import Target
from flmm_ros.msg import GroundedAnswer, GroundedObject
from flmm_ros.ros.targets.poses import matrix_of, point_to_msg, pose_to_msg, vector_to_msg

if TYPE_CHECKING:  # a robot program that reads targets needs none of what finds them
    from flmm_ros.ros.targets.target_finding import Space

LOCATE = "locate"  # the stage of an answer in which its targets are found
MARKER_LIFETIME_S = 60
_AXIS_M = 0.03  # length of a grasp's arrows
_AXES = ((0.9, 0.1, 0.1), (0.1, 0.7, 0.1), (0.1, 0.2, 0.9))  # x red, y green, z blue, as in RViz


@dataclass(frozen=True)
class FoundGrasp:
    """One grasp for a robot program. T_frame_grasp [4, 4] from the point between the finger tips:
    z = approach, y = closing line. Lengths in metres, score 0..1."""

    T_frame_grasp: NDArray[np.float64]
    width_m: float
    clearance_m: float
    score: float


@dataclass(frozen=True)
class FoundTarget:
    """An object in space for a robot program, in metres in `frame`.

    centroid_m [3]: of the visible surface. T_frame_box [4, 4] and size_m [3]: the oriented box,
    whose middle stands for the object's; z is the plane's normal where is_upright. grasps: best
    first.
    """

    frame: str
    centroid_m: NDArray[np.float64]
    T_frame_box: NDArray[np.float64]
    size_m: NDArray[np.float64]
    is_upright: bool
    valid_depth_ratio: float
    grasps: tuple[FoundGrasp, ...]

    @property
    def position_m(self) -> NDArray[np.float64]:
        """The middle of the box [3]."""
        return self.T_frame_box[:3, 3]


def add_targets(msg: GroundedAnswer, space: Space) -> None:
    """Writes the targets into an answer whose objects are in the same order."""
    msg.target_frame = space.header.frame_id
    msg.target_code = getattr(GroundedAnswer, space.code)
    msg.target_text = space.text
    if space.image is not None:
        msg.stages, msg.stage_ms = [*msg.stages, LOCATE], [*msg.stage_ms, space.took_ms]
    for found, target in zip(msg.objects, space.targets, strict=True):
        if target is not None:
            _add_target(found, target, space.T_frame_camera)


def _add_target(msg: GroundedObject, target: Target, T: NDArray[np.float64]) -> None:
    msg.has_target = True
    msg.centroid_m = point_to_msg(T[:3, :3] @ target.centroid_m + T[:3, 3])
    msg.box_pose = pose_to_msg(T @ target.box.T_camera_box)
    msg.box_size_m = vector_to_msg(target.box.size_m)
    msg.is_upright = target.box.is_upright
    msg.valid_depth_ratio = target.valid_ratio
    msg.grasps = [pose_to_msg(T @ grasp.T_camera_grasp) for grasp in target.grasps]
    msg.grasp_width_m = [grasp.width_m for grasp in target.grasps]
    msg.grasp_clearance_m = [grasp.clearance_m for grasp in target.grasps]
    msg.grasp_score = [grasp.score for grasp in target.grasps]


def target_from_msg(msg: GroundedObject, frame: str) -> FoundTarget | None:
    """What `add_targets` wrote; None where the object has no target."""
    if not msg.has_target:
        return None
    numbers = zip(
        msg.grasps, msg.grasp_width_m, msg.grasp_clearance_m, msg.grasp_score, strict=True
    )
    return FoundTarget(
        frame=frame,
        centroid_m=np.array([msg.centroid_m.x, msg.centroid_m.y, msg.centroid_m.z]),
        T_frame_box=matrix_of(msg.box_pose),
        size_m=np.array([msg.box_size_m.x, msg.box_size_m.y, msg.box_size_m.z]),
        is_upright=msg.is_upright,
        valid_depth_ratio=msg.valid_depth_ratio,
        grasps=tuple(
            FoundGrasp(matrix_of(pose), float(width), float(clearance), float(score))
            for pose, width, clearance, score in numbers
        ),
    )


def pose_stamped(space: Space, T_camera: NDArray[np.float64]) -> PoseStamped:
    """A pose [4, 4] of the camera's frame in the target frame."""
    return PoseStamped(header=space.header, pose=pose_to_msg(space.T_frame_camera @ T_camera))


def grasps_to_msg(space: Space, target: Target) -> PoseArray:
    """All grasps of a target, best first."""
    poses = [pose_to_msg(space.T_frame_camera @ g.T_camera_grasp) for g in target.grasps]
    return PoseArray(header=space.header, poses=poses)


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


def markers_to_msg(phrases: Sequence[str], space: Space) -> MarkerArray:
    """For RViz: of each target a box and its phrase, and the axes of its best grasp."""
    markers = [Marker(header=space.header, action=Marker.DELETEALL)]
    for number, (phrase, target) in enumerate(zip(phrases, space.targets, strict=True)):
        if target is not None:
            markers += _markers(phrase, target, space, number)
    return MarkerArray(markers=markers)


def _markers(phrase: str, target: Target, space: Space, number: int) -> list[Marker]:
    red, green, blue = (channel / 255 for channel in color_of(number))
    box_pose = pose_to_msg(space.T_frame_camera @ target.box.T_camera_box)
    size = vector_to_msg(target.box.size_m)

    def marker(namespace: str, kind: int, pose: Pose, scale: Vector3, color: ColorRGBA) -> Marker:
        return Marker(
            header=space.header,
            ns=namespace,
            id=number,
            type=kind,
            action=Marker.ADD,
            pose=pose,
            scale=scale,
            color=color,
            lifetime=Duration(sec=MARKER_LIFETIME_S),
        )

    box = marker("box", Marker.CUBE, box_pose, size, ColorRGBA(r=red, g=green, b=blue, a=0.4))
    white = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    text = marker("phrase", Marker.TEXT_VIEW_FACING, box_pose, Vector3(z=0.03), white)
    text.text = phrase
    found = [box, text]
    if target.grasps:
        pose = pose_to_msg(space.T_frame_camera @ target.grasps[0].T_camera_grasp)
        lines = marker("grasp", Marker.LINE_LIST, pose, Vector3(x=0.004), white)
        for axis, (r, g, b) in enumerate(_AXES):
            end = np.zeros(3)
            end[axis] = _AXIS_M
            lines.points += [point_to_msg(np.zeros(3)), point_to_msg(end)]
            lines.colors += [ColorRGBA(r=r, g=g, b=b, a=1.0)] * 2
        found.append(lines)
    return found
