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

"""True masks of a recording: label images with their names, or COCO JSON beside the scenario."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flmm_ros.engine.errors import ConfigError, ImageError
from flmm_ros.engine.masks import rle

_LABEL_DTYPES = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2"}

Masks = Mapping[str, NDArray[np.bool_]]  # [H, W] by the name of the thing


def labels_from(msg: Any) -> NDArray[np.uint16]:
    """A label image [H, W].

    Raises:
        ImageError: not mono8 or mono16, or sizes that do not fit together.
    """
    dtype = _LABEL_DTYPES.get(msg.encoding)
    if dtype is None:
        raise ImageError(f"labels: expected mono8 or mono16, got {msg.encoding!r}")
    width_bytes = msg.width * int(dtype[1])
    if msg.step < width_bytes or len(msg.data) != msg.height * msg.step:
        raise ImageError(
            f"labels: expected {msg.height} rows of at least {width_bytes} bytes, got "
            f"{len(msg.data)} bytes with a step of {msg.step}"
        )
    rows = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[:, :width_bytes]
    order = ">" if msg.is_bigendian else "<"
    return np.ascontiguousarray(rows).view(order + dtype).astype(np.uint16)


def load_sidecar(path: Path) -> dict[int, Masks]:
    """True masks by stamp in ns, from COCO JSON whose images have a `stamp_ns`.

    Several annotations of one category in one image are one mask.

    Raises:
        ConfigError: missing, no JSON, or not of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        categories = {c["id"]: str(c["name"]) for c in content["categories"]}
        stamps = {image["id"]: int(image["stamp_ns"]) for image in content["images"]}
        found: dict[int, dict[str, NDArray[np.bool_]]] = {s: {} for s in stamps.values()}
        for annotation in content["annotations"]:
            masks = found[stamps[annotation["image_id"]]]
            name = categories[annotation["category_id"]]
            mask = rle.decode(annotation["segmentation"])
            masks[name] = masks[name] | mask if name in masks else mask
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: expected true masks (COCO JSON), nothing there") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected COCO JSON with images (id, stamp_ns), categories (id, name) and "
            f"annotations (image_id, category_id, segmentation as RLE), got {error!r}"
        ) from error
    return dict(found)
