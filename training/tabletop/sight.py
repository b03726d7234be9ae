"""What the refiner's image encoder is told about the image itself: the kind in every cell.

A real refiner brings SAM's image encoder, which has seen the world before it sees a phrase. The
embedded one starts from nothing, and masks alone teach it too slowly to tell a mug from a cube of
the same colour, which is what it is needed for: the attention often cannot. So while the heads
train, a linear layer names the kind in every cell of its features; it is thrown away afterwards.

Does not know about: phrases, language models.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flmm_ros.engine.mask_refiner import MaskRefiner
from flmm_ros.tools.tabletop import HEIGHT_PX, KINDS, WIDTH_PX
from training.tabletop.scenes import SceneSet

TABLE_WEIGHT = 0.1  # most cells show the table


class KindProbe(nn.Module):
    """Names the kind in every cell of the refiner's image features."""

    weight: torch.Tensor

    def __init__(self, refiner: MaskRefiner) -> None:
        super().__init__()
        self.linear = nn.Conv2d(refiner.shape.hidden, 1 + len(KINDS), 1)
        height, width = refiner.fitted_hw((HEIGHT_PX, WIDTH_PX))
        stride = refiner.shape.input_size // refiner.grid
        self.rows = cell_centres(height // stride, HEIGHT_PX)
        self.columns = cell_centres(width // stride, WIDTH_PX)
        self.register_buffer("weight", torch.tensor([TABLE_WEIGHT, *[1.0] * len(KINDS)]))

    def loss(self, features: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        """Cross entropy of features [B, hidden, g, g] against kinds int64 [B, rows, columns]."""
        logits = self.linear(features)[:, :, : len(self.rows), : len(self.columns)]
        return F.cross_entropy(logits, kinds, self.weight)

    def kinds(self, scenes: SceneSet, index: np.ndarray) -> torch.Tensor:
        """The kind at the centre of every cell of some scenes, 1 + its place in KINDS, 0: none."""
        found = []
        for i in index:
            kind_of = np.zeros(256, np.int64)
            for o in scenes.objects[i]:
                kind_of[o.label] = 1 + KINDS.index(o.kind)
            found.append(kind_of[scenes.labels[i]][np.ix_(self.rows, self.columns)])
        return torch.from_numpy(np.stack(found))


def cell_centres(cells: int, size_px: int) -> np.ndarray:
    """The pixel in the middle of each of `cells` equal parts of a side."""
    return ((np.arange(cells) + 0.5) * size_px / cells).astype(int)
