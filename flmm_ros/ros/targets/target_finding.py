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

"""Masks of an image and the depth that belongs to it become targets in the frame that is asked for.

Whatever is wrong with depth, calibration or transforms becomes a code and a text beside the answer:
the masks are published all the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header

from flmm_ros.engine.answer import Grounding
from flmm_ros.engine.errors import TargetError
from flmm_ros.engine.targets.range_image import RangeImage
from flmm_ros.engine.targets.settings import TargetConfig
from flmm_ros.engine.targets.target import Target
from flmm_ros.ros.depth.camera_model import intrinsics_from_msg, is_rectified
from flmm_ros.ros.depth.depth_decoding import depth_m_from_msg, unit_problem
from flmm_ros.ros.depth.depth_images import WAIT_S, DepthWatch
from flmm_ros.ros.targets.depth_crop import crop_around

_log = logging.getLogger(__name__)


class FrameSource(Protocol):
    """What `flmm_ros.ros.targets.transforms.Transforms` offers."""

    def matrix(self, target_frame: str, header: Header, timeout_s: float) -> NDArray[np.float64]:
        """T_target_source [4, 4], or a TargetError with the code TF_ERROR."""
        ...


@dataclass(frozen=True)
class TargetSettings:
    """What finding targets needs of the node's parameters, see ros/interface/node_config.py.

    crop_side_px: only the surroundings of the objects count, thinned to this many pixels; 0 = the
    whole image does, with every pixel.
    """

    engine: TargetConfig
    depth_tolerance_s: float
    is_rectified: bool
    target_frame: str
    tf_timeout_s: float
    depth_wait_s: float = WAIT_S
    crop_side_px: int = 0


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
    try:
        if watch is None:
            raise TargetError("depth is switched off (parameter depth)")
        T, up = np.eye(4), None
        if frame != header.frame_id:
            T = frames.matrix(frame, header, settings.tf_timeout_s)
            up = T[2, :3]  # z of a robot's frames points up (REP 103), seen from the camera
        image, masks = _range_image(watch, settings, groundings, up)
    except TargetError as error:
        return replace(space, code=error.code, text=str(error))
    targets, faults = _targets(groundings, masks, image)
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
    groundings: Sequence[Grounding],
    up: NDArray[np.float64] | None,
) -> tuple[RangeImage, list[NDArray[np.bool_]]]:
    """The depth that belongs to the image, and the masks in it."""
    frame = watch.match(settings.depth_tolerance_s, settings.depth_wait_s)
    depth_m = depth_m_from_msg(frame.depth)
    if problem := unit_problem(depth_m, frame.depth):
        _warn_once(problem)
        raise TargetError(problem)
    masks = [grounding.mask for grounding in groundings]
    height, width = masks[0].shape if masks else depth_m.shape
    camera = intrinsics_from_msg(
        frame.info, (int(height), int(width)), is_rectified=settings.is_rectified
    )
    if camera.distortion:
        _warn_once(
            "the image is not rectified and camera_info has a distortion: it is taken out of the "
            "points with K and d (parameter rectified)"
        )
    config = settings.engine
    if settings.crop_side_px and depth_m.shape == (height, width) and not camera.distortion:
        present = [g.mask for g in groundings if g.is_present]
        crop = crop_around(present, depth_m, camera, config, settings.crop_side_px)
        depth_m = np.asarray(crop.of(depth_m), np.float32)
        masks = [np.asarray(crop.of(mask), bool) for mask in masks]
        camera, config = crop.camera(camera), crop.config(config)
    return RangeImage(depth_m, camera, config, up), masks


@lru_cache(maxsize=32)
def _warn_once(text: str) -> None:
    _log.warning(text)


def _targets(
    groundings: Sequence[Grounding], masks: Sequence[NDArray[np.bool_]], image: RangeImage
) -> tuple[tuple[Target | None, ...], list[str]]:
    """One for each object, and what is wrong with those that are present and have none."""
    pairs = list(zip(groundings, masks, strict=True))
    present = [mask for grounding, mask in pairs if grounding.is_present]
    targets: list[Target | None] = []
    faults: list[str] = []
    for grounding, mask in pairs:
        target: Target | None = None
        if grounding.is_present and grounding.mask.any():
            others = [other for other in present if other is not mask]
            try:
                target = image.target(mask, others)
            except TargetError as error:
                faults.append(f"{grounding.phrase}: {error}")
        targets.append(target)
    if faults:
        faults += _unit_doubt(image)
    return tuple(targets), faults


def _unit_doubt(image: RangeImage) -> list[str]:
    """Where half the depth is beyond what counts, its unit may be wrong."""
    depth_m = image.depth_m[::4, ::4]
    depth_m = depth_m[np.isfinite(depth_m)]
    median_m = float(np.median(depth_m)) if depth_m.size else 0.0
    if median_m <= image.config.max_depth_m:
        return []
    return [
        f"the median depth is {median_m:.1f} m, more than max_depth_m ({image.config.max_depth_m:g}"
        " m): if that is wrong, so is the unit (16UC1 holds millimetres, 32FC1 metres)"
    ]


def main_target(groundings: Sequence[Grounding], space: Space) -> int | None:
    """Which object is the target: the first one that is present, meant alone and has a place."""
    for number, (grounding, target) in enumerate(zip(groundings, space.targets, strict=True)):
        if target is not None and not grounding.is_ambiguous:
            return number
    return None


def settings_from(engine: TargetConfig, node: Any, topic: str) -> TargetSettings:
    """From the two configurations that the node's parameters are read into. topic: of the images,
    absolute."""
    return TargetSettings(
        engine=engine,
        depth_tolerance_s=node.depth_tolerance,
        is_rectified=is_rectified(node.rectified, topic),
        target_frame=node.target_frame,
        tf_timeout_s=node.tf_timeout,
    )
