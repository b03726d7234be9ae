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

"""What every variant trains on, computed once: the frozen model's reading of phrases and images.

Scenes are rendered, every phrase is read apart as the engine does it, once with each way to merge
its tokens, and the refiner's image features are kept: the language model and the image encoder are
frozen, so no variant needs to run them again. Phrases are "the <colour> <kind>" of what lies there
and, a third, of what does not.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.fingerprint import model_fingerprint, weights_fingerprint
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.lmm.tokens import branched
from flmm_sim.tabletop.tabletop import Tabletop, TabletopScene
from training.embedded.evaluation.tabletop import absent_names

log = logging.getLogger(__name__)
FORMAT = "flmm_ros.ablation/1"
MERGES = ("mean", "max")
THERE, ABSENT = 4, 2  # phrases of a scene, at most


@dataclass(frozen=True)
class AblationPhrases:
    """P phrases in B scenes. maps: by way to merge, fp16 [P, C, h, w]. states: fp16 [P, L, T, D],
    zero after `lengths` [P]. scene int [P]. masks uint8 [P, H, W], all zero where absent. features
    fp16 [B, hidden, g, g] of the refiner's image encoder."""

    maps: dict[str, torch.Tensor]
    states: torch.Tensor
    lengths: torch.Tensor
    scene: torch.Tensor
    masks: torch.Tensor
    features: torch.Tensor

    def __len__(self) -> int:
        return len(self.scene)

    def to(self, device: torch.device) -> AblationPhrases:
        """The same on a device."""
        maps = {merge: part.to(device) for merge, part in self.maps.items()}
        rest = (self.states, self.lengths, self.scene, self.masks, self.features)
        return AblationPhrases(maps, *(part.to(device) for part in rest))

    def states_of(self, index: torch.Tensor) -> list[torch.Tensor]:
        """The words' states [L, T, D] of some phrases, each with its own T."""
        return [self.states[i, :, : int(self.lengths[i])].float() for i in index.tolist()]


def prepare(grounder: Grounder, first: int, stop: int, path: Path) -> AblationPhrases:
    """Phrases of the scenes first..stop-1; from `path` where they were prepared before.

    Raises:
        ConfigError: the file was prepared with another model or other scenes.
    """
    about = {
        "format": FORMAT,
        "model": weights_fingerprint(grounder.lmm.model, trained_heads(grounder)),
        "settings": model_fingerprint(grounder.model),
        "seeds": f"{first}:{stop}",
    }
    if not path.exists():
        found = _read_scenes(grounder, range(first, stop))
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        fields = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
        torch.save({"about": json.dumps(about), **fields}, unfinished)
        unfinished.replace(path)
    content = torch.load(path, weights_only=True)
    if content.pop("about") != json.dumps(about):
        raise ConfigError(
            f"{path}: expected phrases that this model read in scenes {first}:{stop}, got others; "
            "delete the file, or give another --out"
        )
    return AblationPhrases(**content)


def trained_heads(grounder: Grounder) -> Heads:
    """The grounder's heads.

    Raises:
        ConfigError: they are not trained ones, so there is no image encoder to start from.
    """
    if not isinstance(grounder.heads, Heads):
        raise ConfigError(
            "ablation: expected a model with trained heads in torch, got "
            f"{type(grounder.heads).__name__}; its refiner is where every variant starts"
        )
    return grounder.heads


def phrases_of(truth: TabletopScene) -> list[tuple[str, NDArray[np.bool_]]]:
    """Phrases of a scene and their masks, the same for the same seed."""
    rng = np.random.default_rng([truth.seed, 11])
    chosen = rng.permutation(len(truth.objects))[:THERE]
    objects = [truth.objects[i] for i in chosen]
    found = [(f"the {o.name}", truth.mask(o)) for o in objects]
    nothing = np.zeros(truth.labels.shape, bool)
    return found + [(f"the {name}", nothing) for name in absent_names(truth, ABSENT, rng)]


@torch.inference_mode()
def _read_scenes(grounder: Grounder, seeds: Sequence[int]) -> AblationPhrases:
    heads = trained_heads(grounder)
    maps: dict[str, list[torch.Tensor]] = {merge: [] for merge in MERGES}
    states: list[torch.Tensor] = []
    scene: list[int] = []
    masks: list[torch.Tensor] = []
    features: list[torch.Tensor] = []
    with Tabletop() as table:
        for number, seed in enumerate(track(seeds, f"reading scenes {seeds[0]}:{seeds[-1] + 1}")):
            truth = table.render(seed)
            named = phrases_of(truth)
            by_merge = read_merged(grounder, truth.rgb, [words for words, _ in named])
            for merge, (merged, _) in by_merge.items():
                maps[merge].append(merged.half().cpu())
            states += [
                s.cpu() for s in by_merge[MERGES[0]][1]
            ]  # how attention is merged changes no state
            scene += [number] * len(named)
            masks += [torch.from_numpy(mask.astype(np.uint8)) for _, mask in named]
            features.append(heads.mask_refiner.see(truth.rgb).half().cpu())
            if number % 100 == 99:
                log.info("read %d of %d scenes", number + 1, len(seeds))
    return AblationPhrases(
        {merge: torch.cat(parts) for merge, parts in maps.items()},
        _padded(states),
        torch.tensor([s.shape[1] for s in states]),
        torch.tensor(scene),
        torch.stack(masks),
        torch.cat(features),
    )


def read_merged(
    grounder: Grounder, rgb: NDArray[np.uint8], phrases: Sequence[str]
) -> dict[str, tuple[torch.Tensor, list[torch.Tensor]]]:
    """Maps [N, C, h, w] by way to merge, each with the N words' states [L, T, D]."""
    lmm, before = grounder.lmm, grounder.lmm.config
    tokens = lmm.text()
    suffix = branched([tokens.reading(before.prompt, p, [(0, len(p))]) for p in phrases])
    prefix = lmm.encode(rgb)
    found = {}
    try:
        for merge in MERGES:
            lmm.config = dataclasses.replace(before, merge=merge)
            reading = lmm.read(prefix, suffix.ids, suffix.spans, suffix.branches)
            found[merge] = (reading.maps, list(reading.states))
    finally:
        lmm.config = before
    return found


def _padded(states: Sequence[torch.Tensor]) -> torch.Tensor:
    """[L, T, D] each to fp16 [P, L, longest T, D]."""
    longest = max(s.shape[1] for s in states)
    layers, _, width = states[0].shape
    out = torch.zeros(len(states), layers, longest, width, dtype=torch.float16)
    for row, one in zip(out, states, strict=True):
        row[:, : one.shape[1]] = one
    return out
