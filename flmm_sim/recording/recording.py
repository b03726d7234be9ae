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

"""Turns scenes of the simulated tabletop into a recording, as a robot would have made it.

Camera image, depth, camera_info, label images and the names of the labels, all with one stamp; and
in the folder a scenario that asks about every scene. The same plan makes the same recording.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image as PillowImage
from rich.progress import track
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from flmm_ros.engine.errors import ConfigError
from flmm_ros.replay.recording.message_types import message_types
from flmm_sim.recording.commands import commands_for
from flmm_sim.tabletop.tabletop import HEIGHT_PX, WIDTH_PX, Tabletop, TabletopScene

START_S = 1_700_000_000  # of the first image: any time will do, as long as it is always the same
FRAME_ID = "camera_color_optical_frame"
STORAGES = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}
COMPRESSIONS = {
    "none": CompressionMode.NONE,
    "message": CompressionMode.MESSAGE,
    "file": CompressionMode.FILE,
    "chunk": CompressionMode.STORAGE,  # MCAP only
}
JPEG_QUALITY = 95
MIN_SIZE_PX = (96, 72)  # width and height
_TOPICS = {
    "image": ("/camera/image", "sensor_msgs/msg/Image"),
    "jpeg": ("/camera/image/compressed", "sensor_msgs/msg/CompressedImage"),
    "depth": ("/camera/depth", "sensor_msgs/msg/Image"),
    "camera_info": ("/camera/camera_info", "sensor_msgs/msg/CameraInfo"),
    "labels": ("/truth/labels", "sensor_msgs/msg/Image"),
    "names": ("/truth/label_info", "vision_msgs/msg/LabelInfo"),
}


@dataclass(frozen=True)
class RecordingPlan:
    """What to record. turn_deg: how far the camera goes around between two images. noise: standard
    deviation of the pixel values. depth_encoding: 16UC1 (millimetres), 32FC1 (metres), empty."""

    seeds: range
    frames: int = 10
    rate_hz: float = 10.0
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX
    turn_deg: float = 0.6
    noise: float = 2.0
    storage: str = "mcap"
    compression: str = "none"
    is_jpeg: bool = False
    depth_encoding: str = "16UC1"
    ask_every_s: float = 0.0


def record(out: Path, plan: RecordingPlan, *, is_shown: bool = False) -> Path:
    """Writes the recording and, in it, scenario.yaml. Returns the folder.

    Raises:
        FileExistsError: there is something already.
        ConfigError: the pictures are too small, or SQLite cannot be compressed by chunk.
    """
    if out.exists():
        raise FileExistsError(f"{out}: expected a new folder, something is there; remove it")
    if plan.width_px < MIN_SIZE_PX[0] or plan.height_px < MIN_SIZE_PX[1]:
        raise ConfigError(
            f"size: expected at least {MIN_SIZE_PX[0]}x{MIN_SIZE_PX[1]} pixels, where every thing "
            f"can be seen, got {plan.width_px}x{plan.height_px}"
        )
    if plan.compression == "chunk" and plan.storage != "mcap":
        raise ConfigError("compression chunk: expected storage mcap, got sqlite3")
    writer = Writer(out, version=9, storage_plugin=STORAGES[plan.storage])
    writer.set_compression(COMPRESSIONS[plan.compression], CompressionFormat.ZSTD)
    out.parent.mkdir(parents=True, exist_ok=True)
    asked: list[dict[str, Any]] = []
    with writer, Tabletop(plan.width_px, plan.height_px) as world:
        recorder = _SceneWriter(writer, plan)
        total = len(plan.seeds) * plan.frames
        views = track(_views(world, plan), description="frames", total=total, disable=not is_shown)
        for number, scene in enumerate(views):
            recorder.write(number, scene)
            if number % plan.frames == 0:
                start_s = number / plan.rate_hz
                # Half a frame early: the first image of the next scene is not this scene's.
                until_s = start_s + (plan.frames - 0.5) / plan.rate_hz
                asked += commands_for(scene, max(0.0, start_s), until_s, plan.ask_every_s)
    (out / "scenario.yaml").write_text(_scenario(out.name, plan, asked), encoding="utf-8")
    return out


def _views(world: Tabletop, plan: RecordingPlan) -> Iterator[TabletopScene]:
    """Every scene from a camera that goes around it, the middle image from its own place."""
    for seed in plan.seeds:
        for index in range(plan.frames):
            turn_deg = plan.turn_deg * (index - plan.frames // 2)
            yield world.render(seed, turn_deg=turn_deg)


def _scenario(name: str, plan: RecordingPlan, commands: Sequence[dict[str, Any]]) -> str:
    topics = {"image": _TOPICS["jpeg" if plan.is_jpeg else "image"][0]}
    if plan.depth_encoding:
        topics |= {k: _TOPICS[k][0] for k in ("depth", "camera_info")}
    content = {
        "name": name,
        "topics": topics,
        "truth": {k: _TOPICS[k][0] for k in ("labels", "names")},
        "commands": list(commands),
        "thresholds": {"masks.cIoU": ">= 0.5", "absent.accuracy": ">= 0.5"},
    }
    note = f"# Made by flmm_sim.recording: seeds {plan.seeds.start}:{plan.seeds.stop}.\n"
    return note + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


class _SceneWriter:
    """Turns scenes into messages."""

    def __init__(self, writer: Writer, plan: RecordingPlan) -> None:
        self._writer, self._plan = writer, plan
        self._store = message_types()
        self._rng = np.random.default_rng(plan.seeds.start)
        self._connections: dict[str, Any] = {}
        self._names: tuple[str, ...] | None = None

    def write(self, number: int, scene: TabletopScene) -> None:
        """One image and what belongs to it, all with one stamp; the truth comes first."""
        time_ns = START_S * 1_000_000_000 + round(number * 1e9 / self._plan.rate_hz)
        header = self._make(
            "std_msgs/msg/Header",
            stamp=self._make(
                "builtin_interfaces/msg/Time",
                sec=time_ns // 1_000_000_000,
                nanosec=time_ns % 1_000_000_000,
            ),
            frame_id=FRAME_ID,
        )
        names = tuple(o.name for o in scene.objects)
        if names != self._names:
            self._names = names
            self._send("names", time_ns, self._label_info(scene, header))
        self._send("labels", time_ns, self._image(scene.labels, "mono8", header))
        if self._plan.depth_encoding:
            depth = scene.depth_m
            if self._plan.depth_encoding == "16UC1":
                depth = np.round(depth * 1000).astype(np.uint16)
            image = self._image(depth, self._plan.depth_encoding, header)
            self._send("depth", time_ns, image)
            self._send("camera_info", time_ns, self._camera_info(scene, header))
        rgb = self._noisy(scene.rgb)
        if self._plan.is_jpeg:
            self._send("jpeg", time_ns, self._jpeg(rgb, header))
        else:
            self._send("image", time_ns, self._image(rgb, "rgb8", header))

    def _noisy(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if not self._plan.noise:
            return rgb
        noise = self._rng.normal(0.0, self._plan.noise, rgb.shape)
        return np.clip(np.round(rgb + noise), 0, 255).astype(np.uint8)

    def _make(self, kind: str, **values: Any) -> Any:
        return self._store.types[kind](**values)

    def _send(self, what: str, time_ns: int, msg: Any) -> None:
        topic, kind = _TOPICS[what]
        if what not in self._connections:
            self._connections[what] = self._writer.add_connection(
                topic, kind, typestore=self._store
            )
        data = self._store.serialize_cdr(msg, kind)
        self._writer.write(self._connections[what], time_ns, data)

    def _image(self, pixels: NDArray[Any], encoding: str, header: Any) -> Any:
        height, width = pixels.shape[:2]
        plain = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))
        return self._make(
            "sensor_msgs/msg/Image",
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=plain.nbytes // height,
            data=plain.view(np.uint8).reshape(-1),
        )

    def _jpeg(self, rgb: NDArray[np.uint8], header: Any) -> Any:
        buffer = io.BytesIO()
        PillowImage.fromarray(rgb).save(buffer, "JPEG", quality=JPEG_QUALITY)
        return self._make(
            "sensor_msgs/msg/CompressedImage",
            header=header,
            format="rgb8; jpeg compressed bgr8",
            data=np.frombuffer(buffer.getvalue(), np.uint8),
        )

    def _camera_info(self, scene: TabletopScene, header: Any) -> Any:
        region = self._make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        )
        return self._make(
            "sensor_msgs/msg/CameraInfo",
            header=header,
            height=scene.labels.shape[0],
            width=scene.labels.shape[1],
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=scene.K.ravel(),
            r=np.eye(3).ravel(),
            p=np.hstack([scene.K, np.zeros((3, 1))]).ravel(),
            binning_x=0,
            binning_y=0,
            roi=region,
        )

    def _label_info(self, scene: TabletopScene, header: Any) -> Any:
        classes = [
            self._make("vision_msgs/msg/VisionClass", class_id=o.label, class_name=o.name)
            for o in scene.objects
        ]
        return self._make(
            "vision_msgs/msg/LabelInfo", header=header, class_map=classes, threshold=0.0
        )
