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

"""The trained heads with their heavy parts in ONNX Runtime: decode, see and refine.

Words, boxes and the way into SAM's square stay in torch, being next to nothing; image features stay
in main memory, where ONNX Runtime wants them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.heads.mask_refiner import Refined
from flmm_ros.engine.heads.trained import Heads, LmmShape
from flmm_ros.engine.onnx.sessions import MAX_PHRASES, MAX_TOKENS, TENSORRT, Sessions


class OnnxHeads:
    """What `Heads` does, with the same shapes."""

    def __init__(self, heads: Heads, sessions: Sessions) -> None:
        self._heads = heads
        self._sessions = sessions

    @property
    def backend(self) -> str:
        """What runs these heads, e.g. "onnx: CPUExecutionProvider (float32)"."""
        return f"onnx: {self._sessions.text}"

    @property
    def has_selector(self) -> bool:
        """Whether a phrase selector was trained with these heads."""
        return self._heads.has_selector

    def require_fit(self, lmm: LmmShape) -> None:
        """See `Heads.require_fit`."""
        self._heads.require_fit(lmm)

    def weighted_states(self, states: torch.Tensor) -> torch.Tensor:
        """States of all layers [L, T, D] to the words' cues [T, D]."""
        return self._heads.weighted_states(states)

    def groundable(self, states: torch.Tensor) -> torch.Tensor | None:
        """See `Heads.groundable`."""
        return self._heads.groundable(states)

    def heat(self, maps: torch.Tensor) -> torch.Tensor:
        """See `Heads.heat`."""
        return self._heads.heat(maps)

    def decode(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, h, w] to coarse logits [N, h', w'], padding of the view included."""
        parts = [
            self._sessions.run("mask_decoder", maps=_array(part))[0]
            for part in maps.split(MAX_PHRASES)
        ]
        return _tensor(parts, maps.device)

    def see(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """SAM's features of an RGB uint8 image [H, W, 3]: [1, hidden, g, g]."""
        pixels = self._heads.mask_refiner.pixels([image])
        return torch.from_numpy(self._sessions.run("image_encoder", pixels=_array(pixels))[0])

    def refine(
        self,
        features: torch.Tensor | None,
        coarse_logits: torch.Tensor,
        cues: Sequence[torch.Tensor],
        image_hw: tuple[int, int],
    ) -> Refined:
        """Un-padded coarse logits [N, h, w] and cues, N weighted states [T, D], to refined masks.

        Raises:
            PromptError: a phrase longer than TensorRT's engine was built for.
        """
        if features is None:
            raise ValueError("refine: expected the image's features, got none; call see() first")
        longest = max((len(cue) for cue in cues), default=0)
        if longest > MAX_TOKENS and self._sessions.uses(TENSORRT):
            raise PromptError(
                f"expected phrases of at most {MAX_TOKENS} tokens, got one of {longest}"
            )
        refined: Refined = self._heads.mask_refiner(
            features,
            coarse_logits,
            cues if self._heads.config.use_text else None,
            image_hw,
            self._prompted,
        )
        return refined

    def upscale(self, low_logits: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
        """Refined logits to the size of the image, [N, H, W]."""
        return self._heads.mask_refiner.upscale(low_logits, image_hw)

    def drop_weights(self) -> None:
        """Frees the weights in torch that run elsewhere now; `heads` is no whole head any more."""
        self._heads.mask_decoder = nn.Identity()  # type: ignore[assignment]
        self._heads.mask_refiner.image_encoder = nn.Identity()
        self._heads.mask_refiner.mask_decoder = nn.Identity()

    def _prompted(
        self,
        features: torch.Tensor,
        boxes: torch.Tensor,
        masks: torch.Tensor,
        cues: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Phrases of equal length; the graph projects their cues itself."""
        low, iou = [], []
        for at in range(0, len(boxes), MAX_PHRASES):
            part = slice(at, at + MAX_PHRASES)
            inputs = {"features": features, "boxes": boxes[part], "masks": masks[part]}
            if cues is not None:
                inputs["cues"] = cues[part]
            arrays = {name: _array(tensor) for name, tensor in inputs.items()}
            logits, scores = self._sessions.run("prompt_decoder", **arrays)
            low.append(logits)
            iou.append(scores)
        return _tensor(low, boxes.device), _tensor(iou, boxes.device)


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy()
    return array


def _tensor(parts: Sequence[NDArray[np.float32]], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts)).to(device)
