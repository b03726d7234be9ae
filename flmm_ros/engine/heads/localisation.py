"""Finds the few attention heads of a language model that point: localisation heads.

For a model that nobody has trained heads for. A head qualifies if it attends to the image at all
(its attention sum lies above the elbow of all heads' sums), if what it attends to is compact (low
spatial entropy), and if it tells the phrases of an image apart. Each image-text pair votes for the
heads that are most compact on it; the heads with most votes are kept. No masks are needed.

Source: Kang et al., "Your Large Vision-Language Model Only Needs A Few Attention Heads For Visual
Grounding", CVPR 2025. Does not know about: models, images, how the chosen heads are used.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.trained import LmmShape

FORMAT = "flmm_ros.localisation/1"
VOTE_SHARE = 0.01  # of all heads: the paper's ten of a thousand, one in a small model
LEAST_CONTRAST = 0.85  # of the best head's: a head that tells phrases apart less does not point
LEAST_VOTES = 0.1  # a head that fewer of the pairs chose points by accident
_EIGHT_NEIGHBOURS = np.ones((3, 3), int)


@dataclass(frozen=True)
class Localisation:
    """The chosen heads of one language model.

    channels: of the maps [C, h, w], best first; channel = view * L * A + layer * A + head. votes:
    share of the pairs that voted for each. made: by what, in words.
    """

    lmm: LmmShape
    channels: tuple[int, ...]
    votes: tuple[float, ...]
    made: str = ""

    def names(self) -> list[str]:
        """The chosen heads for people: "view 1, layer 14, head 3"."""
        layers, heads = self.lmm.layers, self.lmm.heads
        return [
            f"view {c // (layers * heads)}, layer {c // heads % layers}, head {c % heads}"
            for c in self.channels
        ]

    def save(self, path: Path) -> None:
        """Writes a small JSON file."""
        content = {"format": FORMAT, **dataclasses.asdict(self), "names": self.names()}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Localisation:
        """Reads what `save` wrote.

        Raises:
            CheckpointError: missing, or not such a file.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}")
            lmm = LmmShape(**{key: int(value) for key, value in content["lmm"].items()})
            channels = tuple(int(channel) for channel in content["channels"])
            votes = tuple(float(share) for share in content["votes"])
            found = cls(lmm, channels, votes, str(content["made"]))
            if len(channels) != len(votes):
                raise ValueError(f"{len(channels)} heads with {len(votes)} votes")
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{path}: expected the localisation heads of this model, got nothing there; make "
                "them once with: python -m flmm_ros.cli.localise MODEL IMAGES..."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: expected a file of format {FORMAT!r}, got: {error}"
            ) from error
        if not found.channels or not all(0 <= c < lmm.map_channels for c in found.channels):
            raise CheckpointError(
                f"{path}: expected heads within {lmm.map_channels} maps, got {found.channels}"
            )
        return found


def select_heads(
    pairs: Iterable[torch.Tensor],
    lmm: LmmShape,
    *,
    keep: int,
    made: str = "",
    images: Sequence[int] | None = None,
) -> Localisation:
    """The heads that most pairs vote for.

    Args:
        pairs: for each image-text pair the raw maps [C, h, w] of its phrase.
        keep: how many heads at most; the paper finds three to suffice.
        images: for each pair the number of its image. Where images have several phrases, a head
            must also tell them apart: one that looks at the same place whatever it reads does not
            point, however compact that place is.

    Raises:
        CheckpointError: no pairs, or maps of another model.
    """
    maps = [pair.float().cpu() for pair in pairs]
    if not maps or any(len(m) != lmm.map_channels for m in maps):
        raise CheckpointError(
            f"localisation: expected image-text pairs with {lmm.map_channels} maps each, got "
            f"{sorted({len(m) for m in maps}) or 'no pairs'}"
        )
    sums = torch.stack([m.sum(dim=(1, 2)) for m in maps])  # [pairs, C]
    looking = sums.mean(0) > elbow(sums.mean(0))
    telling = _telling_apart(maps, images or range(len(maps)))
    looking = looking & telling if bool((looking & telling).any()) else telling
    votes = torch.zeros(lmm.map_channels)
    for m, looks in zip(maps, sums, strict=True):
        entropies = np.array(
            [spatial_entropy(m[c].numpy()) if looking[c] else np.inf for c in range(len(m))]
        )
        # Of equals, here and below, the one that looks more at the image comes first: on a coarse
        # grid the maps of many heads are a single part.
        chosen = np.lexsort((-looks.numpy(), entropies))[: max(1, round(VOTE_SHARE * len(m)))]
        votes[chosen[np.isfinite(entropies[chosen])]] += 1 / len(maps)
    order = sorted(range(len(votes)), key=lambda c: (-float(votes[c]), -float(sums[:, c].mean())))
    best = [c for c in order[:keep] if votes[c] >= LEAST_VOTES] or order[:1]
    return Localisation(lmm, tuple(best), tuple(round(float(votes[c]), 4) for c in best), made)


def _telling_apart(maps: Sequence[torch.Tensor], images: Sequence[int]) -> torch.Tensor:
    """Heads, bool [C], whose maps differ between phrases of one image (1 - cosine) nearly as much
    as the best head's; all where no image has two phrases."""
    differences = [
        1 - F.cosine_similarity(maps[i].flatten(1), maps[j].flatten(1))
        for i in range(len(maps))
        for j in range(i)
        if images[i] == images[j]
    ]
    if not differences:
        return torch.ones(len(maps[0]), dtype=torch.bool)
    contrast = torch.stack(differences).mean(0)
    return contrast >= LEAST_CONTRAST * contrast.max()


def elbow(values: torch.Tensor) -> float:
    """The last of the many low values before the few high ones: where their sorted curve bends
    most, farthest below the straight line between its ends."""
    ordered = values.sort().values
    line = torch.linspace(float(ordered[0]), float(ordered[-1]), len(ordered))
    return float(ordered[int((line - ordered).argmax())])


def spatial_entropy(grid: np.ndarray) -> float:
    """How scattered the attention on a grid [h, w] is: entropy of the shares of its connected parts
    (8 neighbours) above the mean. 0 for a single part; infinite where nothing stands out."""
    labels, count = ndimage.label(grid > grid.mean(), _EIGHT_NEIGHBOURS)
    if count == 0:
        return float("inf")
    parts = ndimage.sum_labels(grid, labels, np.arange(1, count + 1))
    shares = parts / parts.sum()
    return float(-(shares * np.log(shares)).sum())
