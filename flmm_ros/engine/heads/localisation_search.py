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

"""Finds the localisation heads of a language model, from photos and what is said about them.

A head qualifies if it attends to the image at all (its attention sum lies above the elbow of all
heads' sums), if what it attends to is compact (low spatial entropy), and if it distinguishes the
phrases of an image. Each image-text pair votes for the heads that are most compact on it; the heads
with most votes are kept. No masks are needed.

Source: Kang et al., "Your Large Vision-Language Model Only Needs A Few Attention Heads For Visual
Grounding", CVPR 2025.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.localisation import LEAST_VOTES, Localisation
from flmm_ros.engine.heads.trained import LmmShape
from flmm_ros.engine.language.phrases import find_phrases
from flmm_ros.engine.lmm import Lmm, Prefix
from flmm_ros.engine.masks.framing import crop_to_image
from flmm_ros.engine.masks.overlay import draw_heat

VOTE_SHARE = 0.01  # of all heads: the paper's ten of a thousand, one in a small model
LEAST_CONTRAST = 0.85  # of the best head's: one that distinguishes phrases less does not point
MAX_PHRASES = 4  # of one photo: many phrases of few photos would only repeat each other
MAX_EXAMPLES = 6  # pairs on the contact sheet
_EIGHT_NEIGHBOURS = np.ones((3, 3), int)


@dataclass(frozen=True)
class Photo:
    """An image, RGB uint8 [H, W, 3], and phrases about it; without any the model describes it."""

    image: NDArray[np.uint8]
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """An image, RGB uint8 [H, W, 3], and the raw maps [C, h, w] of one phrase about it."""

    image: NDArray[np.uint8]
    maps: torch.Tensor


@dataclass(frozen=True)
class SearchResult:
    """The chosen heads, how many image-text pairs chose them, and the first few of the pairs."""

    localisation: Localisation
    pairs: int
    examples: tuple[Example, ...]


class HeadVotes:
    """What is kept of image-text pairs, whose maps are too large to keep: a few numbers a head."""

    def __init__(self, lmm: LmmShape) -> None:
        self._lmm = lmm
        self._sums: list[torch.Tensor] = []  # [C] a pair: attention on the image
        self._entropies: list[NDArray[np.float64]] = []  # [C] a pair
        self._contrasts: list[torch.Tensor] = []  # [C] for two phrases of one image
        self._of_this_image: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self._sums)

    def next_image(self) -> None:
        """What is added from here on belongs to another image."""
        self._of_this_image.clear()

    def add(self, maps: torch.Tensor) -> None:
        """The raw maps [C, h, w] of one phrase.

        Raises:
            CheckpointError: maps of another model.
        """
        if len(maps) != self._lmm.map_channels:
            raise CheckpointError(
                f"localisation: expected image-text pairs with {self._lmm.map_channels} maps "
                f"each, got {[len(maps)]}"
            )
        maps = maps.float().cpu()
        self._sums.append(maps.sum(dim=(1, 2)))
        self._entropies.append(np.array([spatial_entropy(each) for each in maps.numpy()]))
        flat = maps.flatten(1)
        self._contrasts += [
            1 - F.cosine_similarity(flat, earlier) for earlier in self._of_this_image
        ]
        self._of_this_image.append(flat)

    def best(self, keep: int, made: str = "") -> Localisation:
        """The heads that most pairs vote for, at most `keep` of them.

        Raises:
            CheckpointError: no pairs.
        """
        if not self._sums:
            raise CheckpointError(
                f"localisation: expected image-text pairs with {self._lmm.map_channels} maps "
                "each, got no pairs"
            )
        sums = torch.stack(self._sums)  # [pairs, C]
        looking = sums.mean(0) > elbow(sums.mean(0))
        contrasting = self._contrasting()
        both = looking & contrasting
        eligible = (both if bool(both.any()) else contrasting).numpy()
        votes = torch.zeros(self._lmm.map_channels)
        for all_entropies, looks in zip(self._entropies, sums, strict=True):
            entropies = np.where(eligible, all_entropies, np.inf)
            # Of equals, here and below, the one that looks more at the image comes first: on a
            # coarse grid the maps of many heads are a single part.
            order = np.lexsort((-looks.numpy(), entropies))
            chosen = order[: max(1, round(VOTE_SHARE * len(entropies)))]
            votes[chosen[np.isfinite(entropies[chosen])]] += 1 / len(sums)
        ranked = sorted(
            range(len(votes)), key=lambda c: (-float(votes[c]), -float(sums[:, c].mean()))
        )
        best = [c for c in ranked[:keep] if votes[c] >= LEAST_VOTES] or ranked[:1]
        shares = tuple(round(float(votes[c]), 4) for c in best)
        return Localisation(self._lmm, tuple(best), shares, made)

    def _contrasting(self) -> torch.Tensor:
        """Heads, bool [C], whose maps differ between phrases of one image (1 - cosine) nearly as
        much as the best head's; all where no image has two phrases."""
        if not self._contrasts:
            return torch.ones(self._lmm.map_channels, dtype=torch.bool)
        contrast = torch.stack(self._contrasts).mean(0)
        return contrast >= LEAST_CONTRAST * contrast.max()


def search_heads(lmm: Lmm, photos: Iterable[Photo], *, keep: int) -> SearchResult:
    """Reads every phrase of every photo and lets the image-text pairs vote.

    photos: are taken one by one; none is kept but for the first few, as examples.
    keep: how many heads at most; the paper finds three to suffice.

    Raises:
        CheckpointError: no phrases at all.
    """
    votes, images = HeadVotes(lmm.shape), 0
    examples: list[Example] = []
    with torch.inference_mode():
        for photo in photos:
            images += 1
            votes.next_image()
            prefix = lmm.encode(photo.image)
            for phrase in (photo.phrases or _described(lmm, prefix))[:MAX_PHRASES]:
                suffix = lmm.text().reading(lmm.config.prompt, phrase, [(0, len(phrase))])
                maps = lmm.read(prefix, suffix.ids, suffix.spans).maps[0].cpu()
                votes.add(maps)
                if len(examples) < MAX_EXAMPLES:
                    examples.append(Example(photo.image, maps))
    if not len(votes):
        raise CheckpointError(
            "expected at least one phrase, got none: the model's descriptions name nothing; "
            "write phrases into text files beside the images"
        )
    found = votes.best(keep, made=f"{len(votes)} phrases of {images} images")
    return SearchResult(found, len(votes), tuple(examples))


def _described(lmm: Lmm, prefix: Prefix) -> tuple[str, ...]:
    """Phrases of the model's own description of an image."""
    question = lmm.text().question(lmm.config.prompt)
    said = lmm.generate(prefix, question.ids, max_new_tokens=64)
    return tuple(phrase.text for phrase in find_phrases(lmm.text().decode(said.ids).text))


def elbow(values: torch.Tensor) -> float:
    """The last of the many low values before the few high ones: where their sorted curve bends
    most, farthest below the straight line between its ends."""
    ordered = values.sort().values
    line = torch.linspace(float(ordered[0]), float(ordered[-1]), len(ordered))
    return float(ordered[int((line - ordered).argmax())])


def spatial_entropy(grid: NDArray[np.float32]) -> float:
    """How scattered the attention on a grid [h, w] is: entropy of the shares of its connected parts
    (8 neighbours) above the mean. 0 for a single part; infinite where nothing stands out."""
    labels, count = ndimage.label(grid > grid.mean(), _EIGHT_NEIGHBOURS)
    if count == 0:
        return float("inf")
    parts = ndimage.sum_labels(grid, labels, np.arange(1, count + 1))
    shares = parts / parts.sum()
    return float(-(shares * np.log(shares)).sum())


def contact_sheet(lmm: Lmm, found: Localisation, examples: Sequence[Example]) -> Image.Image:
    """One row an example: the image, then what each chosen head looks at."""
    rows = []
    for example in examples:
        image_hw = (example.image.shape[0], example.image.shape[1])
        view = lmm.views(image_hw)[-1]
        pictures = [example.image]
        for channel in found.channels:
            grid = crop_to_image(example.maps[channel][None, None].float(), view, image_hw)
            heat = F.interpolate(grid, image_hw, mode="bilinear")[0, 0].numpy()
            pictures.append(draw_heat(example.image, heat, len(pictures) - 1))
        rows.append(Image.fromarray(np.concatenate(pictures, axis=1)))
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet
