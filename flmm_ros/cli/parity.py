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

"""`flmm parity`: the engine beside numbers of the official implementation, tensor by tensor.

    flmm parity CASE_DIR [--device cuda]

A case holds an image, a tiny model with official head weights, and `golden.safetensors` with
inputs, intermediates and outputs. The image and ids go through the engine's own path (image file to
refined masks); every tensor is printed with its largest difference and its bound. Exit status: 0
all hold, 1 some do not, 2 the case cannot be run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.lmm import Prefix
from flmm_ros.engine.lmm.tokens import Suffix
from flmm_ros.engine.scene import Trace

# Official class -> family of ours.
FAMILIES = {"FrozenLlavaSAM": "llava", "FrozenLlavaNextSAM": "llava_next"}
# Tensor name or its beginning -> largest allowed absolute difference, first match wins.
BOUNDS: tuple[tuple[str, float], ...] = (
    ("pixel_values", 1e-5),
    ("mask_attentions", 1e-5),
    ("attn_", 1e-5),
    ("text_embed_", 1e-4),
    ("weighted_hidden_states", 1e-4),
    ("pred_masks", 2e-3),
    ("sam_boxes", 1e-3),
    ("sam_iou_predictions", 1e-3),
    ("sam_pred_masks", 5e-2),
)
_EXACT = 0.0


@dataclass(frozen=True)
class Comparison:
    """One tensor: `difference` is None where it has no counterpart or another shape."""

    name: str
    difference: float | None
    bound: float
    note: str = ""

    @property
    def holds(self) -> bool:
        """See `Lmm.holds`."""
        return self.difference is not None and self.difference <= self.bound


def compare_case(case: Path, device: str = "cpu") -> list[Comparison]:
    """Runs a case in float32 and compares every tensor of its golden file.

    The bounds are a CPU's. A GPU runs SAM's ViT in bfloat16, and convolutions in TF32 unless torch
    is told otherwise, so what comes after them is further away there.

    Raises:
        FlmmError: the case, or its model family, cannot be run.
    """
    golden, meta = _read_case(case)
    config = GrounderConfig(device=device, dtype="float32")
    grounder = Grounder.from_model(_model_config(case, meta), config)
    image = np.array(Image.open(case / "image.png").convert("RGB"))
    ids = golden["input_ids"].tolist()
    spans = _spans(golden["mask_ids"])
    cut = len(ids) - ids[::-1].index(grounder.lmm.image_token_id)
    scene = grounder.open(image)
    prefix = scene.encode(ids[:cut], keep_states=True)
    trace = scene.trace(Suffix(tuple(ids[cut:]), tuple((a - cut, b - cut) for a, b in spans)))
    with torch.inference_mode():
        ours = dict(_our_tensors(grounder, image, golden, prefix, trace))
    return [_compare(name, expected, ours.get(name)) for name, expected in sorted(golden.items())]


def _our_tensors(
    grounder: Grounder,
    image: Any,
    golden: dict[str, torch.Tensor],
    prefix: Prefix,
    trace: Trace,
) -> Iterator[tuple[str, torch.Tensor]]:
    """The engine's counterpart of every golden tensor."""
    heads, lmm = grounder.heads, grounder.lmm
    ids, mask_ids = golden["input_ids"], golden["mask_ids"]
    image_id, count = lmm.image_token_id, len(prefix.columns)
    if prefix.states is None or not isinstance(heads, Heads):
        raise ConfigError("case: expected official heads and an image encoded with its states")
    yield "input_ids", ids
    yield "mask_ids", mask_ids
    repeats = torch.where(ids == image_id, count, 1)
    yield "mask_ids_expanded", mask_ids.repeat_interleave(repeats)
    positions = torch.zeros(int(repeats.sum()), dtype=torch.long)
    positions[prefix.columns.cpu()] = 1
    yield "image_token_mask", positions
    for name, value in lmm.prepare(image).items():
        yield name, value[0]
    yield "mask_attentions", trace.reading.maps
    if len(trace.reading.view_maps) > 1:
        yield from zip(("attn_coarse", "attn_fine"), trace.reading.view_maps, strict=True)
    states = torch.cat([prefix.states, trace.reading.all_states], dim=1)
    yield "weighted_hidden_states", heads.weighted_states(states)
    for n, cue in enumerate(trace.cues):
        yield f"text_embed_{n}", heads.text_proj(cue)
    yield "pred_masks", trace.coarse_logits
    yield "sam_boxes", trace.boxes[:, None]
    yield "sam_iou_predictions", trace.iou[:, None]
    yield "sam_pred_masks", trace.refined_logits


def _compare(name: str, expected: torch.Tensor, got: torch.Tensor | None) -> Comparison:
    bound = next((b for start, b in BOUNDS if name.startswith(start)), _EXACT)
    if got is None:
        return Comparison(name, None, bound, "the engine has no counterpart")
    if got.shape != expected.shape:
        note = f"expected shape {tuple(expected.shape)}, got {tuple(got.shape)}"
        return Comparison(name, None, bound, note)
    difference = (got.cpu().double() - expected.double()).abs().max().item() if got.numel() else 0.0
    return Comparison(name, difference, bound)


def _read_case(case: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        meta = json.loads((case / "meta.json").read_text(encoding="utf-8"))
        golden = load_file(case / "golden.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigError(
            f"{case}: expected a case with meta.json and golden.safetensors, got: {error}"
        ) from error
    return golden, meta


def _model_config(case: Path, meta: dict[str, Any]) -> ModelConfig:
    official = str(meta.get("official_model_class"))
    if official not in FAMILIES:
        raise ConfigError(f"{case}: expected a case of {', '.join(FAMILIES)}, got {official!r}")
    return ModelConfig(
        name=case.resolve().name,
        family=FAMILIES[official],
        lmm=str(case / "llava_hf"),
        heads=str(case / "flmm_head.pth"),
        sam=str(case / "sam_image_encoder.pth"),
        merge=str(meta["merge"]),
        score="mask_confidence",
    )


def _spans(mask_ids: torch.Tensor) -> list[tuple[int, int]]:
    """The half-open range of tokens of each phrase."""
    spans = []
    for phrase in range(int(mask_ids.max()) + 1):
        at = (mask_ids == phrase).nonzero()[:, 0].tolist()
        if not at or at != list(range(at[0], at[-1] + 1)):
            raise ConfigError(f"mask_ids: expected consecutive tokens of phrase {phrase}, got {at}")
        spans.append((at[0], at[-1] + 1))
    return spans


def parity(
    case: Annotated[Path, typer.Argument(metavar="CASE_DIR", help="Folder of a golden case.")],
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
) -> int:
    """Compare the engine with golden numbers of the official implementation.

    Exit codes: 0 all hold, 1 some do not, 2 the case cannot be run.
    """
    comparisons = compare_case(case, device)
    print(f"{'tensor':<26}{'max |difference|':>18}{'bound':>12}")
    for c in comparisons:
        shown = f"{c.difference:.3e}" if c.difference is not None else "-"
        verdict = "ok" if c.holds else "FAIL"
        print(f"{c.name:<26}{shown:>18}{c.bound:>12.0e}  {verdict}  {c.note}".rstrip())
    failed = [c.name for c in comparisons if not c.holds]
    print(f"{len(comparisons) - len(failed)} of {len(comparisons)} hold")
    return 1 if failed else 0
