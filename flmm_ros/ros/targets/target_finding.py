"""Masks of an image and the depth that belongs to it become targets in the frame that is asked for.

Whatever is wrong with depth, calibration or transforms becomes a code and a text beside the answer:
the masks are published all the same. Does not know about: topics, models, messages of answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.targets.range_image import RangeImage
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Target
from flmm_ros.ros.depth.depth_decoding import depth_m_from_msg, intrinsics_from_msg
from flmm_ros.ros.depth.depth_images import WAIT_S, DepthWatch


class FrameSource(Protocol):
    """What `flmm_ros.ros.targets.transforms.Transforms` offers."""

    def matrix(self, target_frame: str, header: Header, timeout_s: float) -> NDArray[np.float64]:
        """T_target_source [4, 4], or a TargetError with the code TF_ERROR."""
        ...


@dataclass(frozen=True)
class TargetSettings:
    """Parameters of the node that the finding of targets needs; see ros/interface/parameters.py."""

    engine: TargetConfig
    depth_tolerance_s: float
    is_rectified: bool
    target_frame: str
    tf_timeout_s: float
    depth_wait_s: float = WAIT_S


@dataclass(frozen=True)
class Locator:
    """How a command finds its objects in space.

    watch: begins to look for the depth of an image; None where depth is off. find: the targets of
    objects, from the header of their image and what was watched.
    """

    watch: Callable[[Header], DepthWatch | None]
    find: Callable[[Sequence[Grounding], Header, DepthWatch | None], Space]


@dataclass(frozen=True)
class Space:
    """The targets of one answer, in the order of its objects; None where an object has none.

    T_frame_camera [4, 4] brings them from the camera into `frame`. code and text say why there are
    fewer targets than objects; code "OK" where there are not. image: the depth they are from.
    """

    header: Header
    targets: tuple[Target | None, ...]
    T_frame_camera: NDArray[np.float64]
    code: str = "OK"
    text: str = ""
    image: RangeImage | None = None
    took_ms: float = 0.0


def find_targets(
    groundings: Sequence[Grounding],
    header: Header,
    watch: DepthWatch | None,
    frames: FrameSource,
    settings: TargetSettings,
) -> Space:
    """The targets of the objects that are present.

    header: of the image. watch: of that image; None where depth is switched off.
    """
    start_s = time.monotonic()
    nothing: tuple[Target | None, ...] = (None,) * len(groundings)
    frame = settings.target_frame or header.frame_id
    space = Space(Header(stamp=header.stamp, frame_id=frame), nothing, np.eye(4))
    size_hw = groundings[0].mask.shape if groundings else None
    try:
        if watch is None:
            raise TargetError("depth is switched off (parameter depth)")
        T, up = np.eye(4), None
        if frame != header.frame_id:
            T = frames.matrix(frame, header, settings.tf_timeout_s)
            up = T[2, :3]  # z of a robot's frames points up (REP 103), seen from the camera
        image = _range_image(watch, settings, size_hw, up)
    except TargetError as error:
        return replace(space, code=error.code, text=str(error))
    targets, faults = _targets(groundings, image)
    return replace(
        space,
        targets=targets,
        T_frame_camera=T,
        code="NO_DEPTH" if faults else "OK",
        text="; ".join(faults),
        image=image,
        took_ms=1e3 * (time.monotonic() - start_s),
    )


def _range_image(
    watch: DepthWatch,
    settings: TargetSettings,
    size_hw: tuple[int, ...] | None,
    up: NDArray[np.float64] | None,
) -> RangeImage:
    frame = watch.match(settings.depth_tolerance_s, settings.depth_wait_s)
    depth_m = depth_m_from_msg(frame.depth)
    height, width = size_hw or depth_m.shape
    intrinsics = intrinsics_from_msg(
        frame.info, (int(height), int(width)), is_rectified=settings.is_rectified
    )
    return RangeImage(depth_m, intrinsics, settings.engine, up)


def _targets(
    groundings: Sequence[Grounding], image: RangeImage
) -> tuple[tuple[Target | None, ...], list[str]]:
    """One for each object, and what is wrong with those that are present and have none."""
    present = [g.mask for g in groundings if g.is_present]
    targets: list[Target | None] = []
    faults: list[str] = []
    for grounding in groundings:
        target: Target | None = None
        if grounding.is_present and grounding.mask.any():
            others = [mask for mask in present if mask is not grounding.mask]
            try:
                target = image.target(grounding.mask, others)
            except TargetError as error:
                faults.append(f"{grounding.phrase}: {error}")
        targets.append(target)
    return tuple(targets), faults


def main_target(groundings: Sequence[Grounding], space: Space) -> int | None:
    """Which object is the target: the first one that is present, meant alone and has a place."""
    for number, (grounding, target) in enumerate(zip(groundings, space.targets, strict=True)):
        if target is not None and not grounding.is_ambiguous:
            return number
    return None


def settings_from(engine: TargetConfig, node: Any) -> TargetSettings:
    """From the two configurations that the node's parameters are read into."""
    return TargetSettings(
        engine=engine,
        depth_tolerance_s=node.depth_tolerance,
        is_rectified=node.rectified,
        target_frame=node.target_frame,
        tf_timeout_s=node.tf_timeout,
    )
