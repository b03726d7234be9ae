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

"""Brings trained heads in from files: ours, official F-LMM heads, segment-anything image encoders.

Every key of a file is accounted for: it is loaded, or it is an error that names the nearest known
key. Loaded heads are frozen and in float32.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.mask_refiner import MaskRefiner
from flmm_ros.engine.heads.official import BASIS, infer_refiner, infer_shapes, official_name
from flmm_ros.engine.heads.refiner_shape import ConvEncoderShape, RefinerShape, SamVitShape
from flmm_ros.engine.heads.trained import Heads, HeadsConfig, LmmShape
from flmm_ros.engine.heads.weight_files import Weights, read_pth, read_safetensors, read_sam

log = logging.getLogger(__name__)
FORMAT = "flmm_ros.heads/1"
_SHOWN = 10  # keys printed of a long list


def save_heads(path: str | Path, heads: Heads, provenance: Mapping[str, str]) -> None:
    """Writes our own head file: safetensors, with the numbers to rebuild the module as metadata.

    provenance: who made it (command, data, seed, date), free text.
    """
    metadata = {
        "format": FORMAT,
        "lmm": json.dumps(dataclasses.asdict(heads.lmm)),
        "heads": json.dumps(_config_to_json(heads.config)),
        "provenance": json.dumps(dict(provenance)),
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in heads.state_dict().items()}
    save_file(tensors, str(path), metadata=metadata)


def load_heads(path: str | Path) -> Heads:
    """Reads a head file written by `save_heads`.

    Raises:
        CheckpointError: missing, truncated, of another format, or not fitting its own description.
    """
    path = Path(path)
    weights, metadata = read_safetensors(path)
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: expected a head file of format {FORMAT!r}, got {metadata.get('format')!r}; "
            "official F-LMM heads are .pth files"
        )
    try:
        lmm = LmmShape(**json.loads(metadata["lmm"]))
        config = _config_from_json(json.loads(metadata["heads"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: the description of the heads is damaged: {error}"
        ) from error
    heads = Heads.create(lmm, config)
    _fill(heads, {name: name for name in heads.state_dict()}, weights, str(path))
    return heads.requires_grad_(False).eval()


def load_official_heads(heads_path: str | Path, sam_path: str | Path | None) -> Heads:
    """Reads official F-LMM heads (.pth) and the image encoder of a segment-anything checkpoint.

    Raises:
        CheckpointError: a file is missing, truncated or corrupt, or holds keys that fit nothing.
    """
    heads_path = Path(heads_path)
    if sam_path is None:
        raise CheckpointError(
            f"{heads_path}: official heads need the image encoder of a segment-anything "
            "checkpoint; set 'sam' in the model file"
        )
    official = read_pth(heads_path)
    sam = read_sam(Path(sam_path))
    _add_basis(official, sam, heads_path, Path(sam_path))
    # A complete SAM file also holds a prompt encoder and a mask decoder: the trained ones win.
    encoder = {k: v for k, v in sam.items() if k.startswith("image_encoder.")}
    try:
        lmm, config = infer_shapes(official, encoder or sam)
    except CheckpointError as error:
        raise CheckpointError(f"{heads_path} with {sam_path}: {error}") from error
    heads = Heads.create(lmm, config)
    names = {ours: official_name(ours, config) for ours in heads.state_dict()}
    encoder_names = {o: t for o, t in names.items() if t.startswith("image_encoder.")}
    head_names = {o: t for o, t in names.items() if o not in encoder_names}
    _fill(heads, head_names, official, str(heads_path))
    _fill(heads, encoder_names, encoder, str(sam_path))
    return heads.requires_grad_(False).eval()


def save_official_heads(
    path: str | Path, heads: Heads, *, without_selector: bool = False
) -> dict[str, torch.Tensor]:
    """Writes heads under the official names, a .pth that the official code and
    `load_official_heads` read; returns what was written.

    The image encoder is not part of such a file. Neither is what the original does not know: that
    the predicted IoU was trained, and that each phrase's mask prompt is filled with its own
    minimum; heads that come back from there are taken for the original's in both.

    Args:
        without_selector: leave a phrase selector out, for which there is no official name.

    Raises:
        CheckpointError: the heads hold what has no official name, or shapes it cannot express.
    """
    selector = {n for n in heads.state_dict() if n.startswith("phrase_selector.")}
    if selector and not without_selector:
        raise CheckpointError(
            f"{path}: expected heads without a phrase selector, got one; official heads have no "
            "place for it, leave it out with --without-selector"
        )
    if not isinstance(heads.config.refiner.encoder, SamVitShape):
        raise CheckpointError(
            f"{path}: expected heads on a segment-anything image encoder, got a convolutional one; "
            "nobody could load them without its weights"
        )
    written = {}
    for name, value in heads.state_dict().items():
        official = official_name(name, heads.config)
        if name not in selector and not official.startswith("image_encoder."):
            written[official] = value.detach().cpu().contiguous().clone()
    encoder = {
        official_name(name, heads.config): value
        for name, value in heads.state_dict().items()
        if name.startswith("mask_refiner.image_encoder.")
    }
    _, config = infer_shapes(written, encoder)
    if config.refiner != heads.config.refiner or config.stages != heads.config.stages:
        raise CheckpointError(
            f"{path}: expected shapes that official heads can tell, got {heads.config.refiner}, "
            f"which would come back as {config.refiner}"
        )
    torch.save(written, Path(path))
    return written


def load_refiner(path: str | Path) -> MaskRefiner:
    """A mask refiner as it is before anybody trained it with heads: a complete segment-anything
    checkpoint, or the refiner of one of our own head files. It expects no words.

    Raises:
        CheckpointError: missing, truncated or corrupt, or keys that fit nothing.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return load_heads(path).mask_refiner
    weights = read_sam(path)
    try:
        shape = infer_refiner(weights, weights, prefix="")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    refiner, config = MaskRefiner(shape), HeadsConfig(refiner=shape)
    names = {
        ours: official_name(f"mask_refiner.{ours}", config).removeprefix("sam.model.")
        for ours in refiner.state_dict()
    }
    _fill(refiner, names, weights, str(path))
    return refiner.requires_grad_(False).eval()


def _add_basis(official: Weights, sam: Weights, heads_path: Path, sam_path: Path) -> None:
    """Completes heads saved without buffers: the basis they were trained with is SAM's own."""
    if f"sam.model.{BASIS}" in official:
        return
    if BASIS not in sam:
        raise CheckpointError(
            f"{heads_path}: expected 'sam.model.{BASIS}' here or '{BASIS}' in {sam_path}, got "
            "neither; use the complete segment-anything checkpoint"
        )
    official[f"sam.model.{BASIS}"] = sam[BASIS]


def _fill(module: nn.Module, names: Mapping[str, str], weights: Weights, source: str) -> None:
    """Loads weights into a module; names: our name -> name in the file. Strict in every respect."""
    wanted = {theirs: ours for ours, theirs in names.items()}
    unexpected = [key for key in weights if key not in wanted]
    missing = [key for key in wanted if key not in weights]
    if unexpected or missing:
        raise CheckpointError(
            f"{source}: expected exactly {len(wanted)} known keys, got "
            f"{len(weights) - len(unexpected)} loaded, {len(missing)} missing, "
            f"{len(unexpected)} unexpected{_listing(missing, unexpected, wanted)}"
        )
    target = module.state_dict()
    for theirs, ours in wanted.items():
        if weights[theirs].shape != target[ours].shape:
            raise CheckpointError(
                f"{source}: {theirs}: expected shape {tuple(target[ours].shape)}, got "
                f"{tuple(weights[theirs].shape)}"
            )
        target[ours].copy_(weights[theirs])
    log.info("%s: %d loaded, 0 missing, 0 unexpected", Path(source).name, len(wanted))


def _listing(missing: list[str], unexpected: list[str], known: Iterable[str]) -> str:
    lines = [f"\n  missing: {key}" for key in missing[:_SHOWN]]
    for key in unexpected[:_SHOWN]:
        nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
        hint = f" (nearest known key: {nearest[0]})" if nearest else ""
        lines.append(f"\n  unexpected: {key}{hint}")
    return "".join(lines)


def _config_to_json(config: HeadsConfig) -> dict[str, Any]:
    content = dataclasses.asdict(config)
    kind = "sam_vit" if isinstance(config.refiner.encoder, SamVitShape) else "conv"
    content["refiner"]["encoder"] = {"kind": kind, **content["refiner"]["encoder"]}
    return content


def _config_from_json(content: dict[str, Any]) -> HeadsConfig:
    refiner = dict(content["refiner"])
    encoder = dict(refiner["encoder"])
    kind = encoder.pop("kind")
    shapes: dict[str, type[SamVitShape] | type[ConvEncoderShape]] = {
        "sam_vit": SamVitShape,
        "conv": ConvEncoderShape,
    }
    if kind not in shapes:
        raise ValueError(f"image encoder kind: expected one of {', '.join(shapes)}, got {kind!r}")
    refiner["encoder"] = shapes[kind](**_tuples(encoder))
    return HeadsConfig(**{**content, "refiner": RefinerShape(**_tuples(refiner))})


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    """JSON knows lists only; the dataclasses hold tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in content.items()}
