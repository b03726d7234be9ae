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

"""Sharpens a coarse mask at image resolution: SAM's prompt encoder and mask decoder.

A phrase prompts SAM three ways at once: with its coarse logits (dense), with the tight box around
them and with its words (one token each, appended to the box tokens). The layers are transformers'
own; the image encoder is any module from pixels to features: SAM's ViT for official heads, a small
convolutional trunk for the embedded model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F
from transformers import SamConfig, SamMaskDecoderConfig, SamPromptEncoderConfig
from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPromptEncoder

from flmm_ros.engine.heads.refiner_shape import ConvEncoderShape, RefinerShape, SamVitShape
from flmm_ros.engine.vision.conv_encoder import ConvTrunk
from flmm_ros.engine.vision.sam_image_encoder import SamImageEncoder

_TORCH_NORM_EPS = 1e-5  # the original's decoder uses torch's default, transformers' default is 1e-6


# Features [1, hidden, g, g] or one for each phrase, boxes [N, 4], mask prompts [N, 1, 4g, 4g] and
# words [N, T, hidden] or None, to low logits [N, 4g, 4g] and predicted IoU [N].
Prompted = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None],
    tuple[torch.Tensor, torch.Tensor],
]


@dataclass(frozen=True)
class Refined:
    """low_logits [N, 4g, 4g] on the padded square (g = side of the feature grid), iou [N] as
    predicted, boxes [N, 4] the box prompts in the square's pixels."""

    low_logits: torch.Tensor
    iou: torch.Tensor
    boxes: torch.Tensor


class ConvImageEncoder(nn.Module):
    """A convolutional trunk and a 1x1 convolution to the refiner's width."""

    def __init__(self, shape: ConvEncoderShape, hidden: int) -> None:
        super().__init__()
        self.trunk = ConvTrunk(shape.channels, shape.blocks)
        self.neck = nn.Conv2d(self.trunk.out_channels, hidden, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels [B, 3, s, s] to features [B, hidden, g, g]."""
        features: torch.Tensor = self.neck(self.trunk(pixels))
        return features


class MaskRefiner(nn.Module):
    """Coarse logits + features + words to refined logits and a predicted IoU.

    `isolated`: fill around the image, in the mask prompt, with each phrase's own minimum. The
    original (False) takes the minimum over all phrases of the call, so that one phrase's mask
    depends on the other phrases.
    """

    def __init__(self, shape: RefinerShape, *, isolated: bool = True) -> None:
        super().__init__()
        self.shape = shape
        self.isolated = isolated
        self.grid = shape.input_size // shape.stride
        prompt = SamPromptEncoderConfig(
            hidden_size=shape.hidden,
            image_size=shape.input_size,
            patch_size=shape.stride,
            mask_input_channels=shape.mask_channels,
        )
        vision = shape.vision_config()
        self.prompt_encoder = SamPromptEncoder(
            SamConfig(vision_config=vision, prompt_encoder_config=prompt)
        )
        # A random Fourier basis, not a weight: it stays as it was drawn or loaded.
        basis = self.prompt_encoder.shared_embedding.positional_embedding.requires_grad_(False)
        nn.init.normal_(basis)
        decoder = SamMaskDecoderConfig(
            hidden_size=shape.hidden,
            mlp_dim=shape.decoder_mlp,
            num_hidden_layers=shape.decoder_layers,
            num_attention_heads=shape.decoder_heads,
            attention_downsample_rate=shape.decoder_downsample,
            num_multimask_outputs=shape.extra_masks,
            iou_head_depth=shape.iou_depth,
            iou_head_hidden_dim=shape.iou_hidden,
            layer_norm_eps=_TORCH_NORM_EPS,
        )
        decoder._attn_implementation = "sdpa"
        self.mask_decoder = SamMaskDecoder(decoder)
        self.image_encoder: nn.Module
        if isinstance(shape.encoder, SamVitShape):
            vision._attn_implementation = "sdpa"
            self.image_encoder = SamImageEncoder(vision)
        else:
            self.image_encoder = ConvImageEncoder(shape.encoder, shape.hidden)

    def fitted_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Size of an image inside the square: long side = input_size, rounded to nearest."""
        scale = self.shape.input_size / max(image_hw)
        height, width = (max(1, int(side * scale + 0.5)) for side in image_hw)
        return height, width

    def pixels(self, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """RGB uint8 images [H, W, 3] to normalised, padded pixels [B, 3, s, s] on the CPU."""
        side = self.shape.input_size
        out = torch.zeros(len(images), 3, side, side)
        mean = torch.tensor(self.shape.pixel_mean)[:, None, None]
        std = torch.tensor(self.shape.pixel_std)[:, None, None]
        for target, image in zip(out, images, strict=True):
            height, width = self.fitted_hw(image.shape[:2])
            fitted = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1).float()
            target[:, :height, :width] = (pixels - mean) / std
        return out

    def see(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Features of an RGB uint8 image [H, W, 3], for `forward`: float32 [1, hidden, g, g]."""
        return self.features(self.pixels([image]))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels [B, 3, s, s] as `pixels` makes them to float32 [B, hidden, g, g].

        A GPU runs SAM's ViT in bfloat16: by far most of the refiner's work. What follows is small
        and decides where edges lie; it stays in float32, as everything does on a CPU.
        """
        device = self.prompt_encoder.shared_embedding.positional_embedding.device
        half = device.type == "cuda" and isinstance(self.shape.encoder, SamVitShape)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            features: torch.Tensor = self.image_encoder(pixels.to(device))
        return features.float()

    def boxes(self, coarse_logits: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
        """Tight box of each coarse mask, [N, 4] xyxy in the square's pixels, far edges exclusive.

        The whole image where nothing is positive. Not differentiable.
        """
        with torch.no_grad():
            soft = F.interpolate(
                coarse_logits[:, None].float().sigmoid(), image_hw, mode="bilinear"
            )
            mask = soft[:, 0] > 0.5  # [N, H, W]
            x0, x1 = _extent(mask.any(dim=1))
            y0, y1 = _extent(mask.any(dim=2))
            boxes = torch.stack([x0, y0, x1, y1], dim=1).float()
        height, width = self.fitted_hw(image_hw)
        scale = boxes.new_tensor([width / image_hw[1], height / image_hw[0]]).repeat(2)
        return boxes * scale

    def forward(
        self,
        features: torch.Tensor,
        coarse_logits: torch.Tensor,
        cues: Sequence[torch.Tensor] | None,
        image_hw: tuple[int, int],
        prompted: Prompted | None = None,
    ) -> Refined:
        """Refines N phrases; all belong to images of one size.

        Args:
            features: [N, hidden, g, g], one for each phrase, or [1, hidden, g, g] for all of them.
            coarse_logits: [N, h, w], without the padding of the language model's image.
            cues: N tensors [T, hidden], the phrases' words; None for none.
            image_hw: size of the user's image.
            prompted: what runs SAM's layers, where another runtime does.
        """
        boxes = self.boxes(coarse_logits, image_hw)
        masks = self.mask_prompt(coarse_logits, image_hw)
        return self.refined(features, boxes, masks, cues, prompted or self.prompted)

    def refined(
        self,
        features: torch.Tensor,
        boxes: torch.Tensor,
        masks: torch.Tensor,
        cues: Sequence[torch.Tensor] | None,
        prompted: Prompted,
    ) -> Refined:
        """From the prompts themselves, boxes [N, 4] and masks [N, 1, 4g, 4g]: phrases may belong
        to images of different sizes, all lie in the same square."""
        count = len(boxes)
        low = boxes.new_zeros(count, 4 * self.grid, 4 * self.grid, dtype=torch.float32)
        iou = boxes.new_zeros(count, dtype=torch.float32)
        # The decoder has no padding mask for prompts, so phrases of equal length go together.
        for length in sorted({len(c) for c in cues} if cues is not None else {0}):
            same = [i for i in range(count) if cues is None or len(cues[i]) == length]
            index = torch.tensor(same, device=low.device)
            logits, scores = prompted(
                features if len(features) == 1 else features[index],
                boxes[index],
                masks[index],
                None if cues is None else torch.stack([cues[i] for i in same]),
            )
            low = low.index_copy(0, index, logits.float())
            iou = iou.index_copy(0, index, scores.float())
        return Refined(low, iou, boxes)

    def prompted(
        self,
        features: torch.Tensor,
        boxes: torch.Tensor,
        masks: torch.Tensor,
        words: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """SAM's prompt encoder and mask decoder for phrases of equal length; see `Prompted`."""
        prompt, _ = self.prompt_encoder(None, None, boxes[:, None], None)  # [N, 1, 2, hidden]
        if words is not None:
            prompt = torch.cat([prompt, words[:, None]], dim=2)
        low, iou = self.mask_decoder(
            image_embeddings=features.expand(boxes.shape[0], -1, -1, -1),
            image_positional_embeddings=self._position(),
            sparse_prompt_embeddings=prompt,
            dense_prompt_embeddings=self.prompt_encoder.mask_embed(masks),
            multimask_output=False,
        )
        return low[:, 0, 0], iou[:, 0, 0]

    def upscale(self, low_logits: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
        """Logits on the padded square to logits at the user's image size, [N, H, W]."""
        fitted_hw, count = self.fitted_hw(image_hw), low_logits.shape[-1]
        rows, columns = (
            _resampling(count, self.shape.input_size, fitted, size).to(low_logits)
            for fitted, size in zip(fitted_hw, image_hw, strict=True)
        )
        return rows @ low_logits @ columns.T

    def mask_prompt(self, coarse_logits: torch.Tensor, image_hw: tuple[int, int]) -> torch.Tensor:
        """Coarse logits laid into the square, at the mask prompt's resolution: [N, 1, 4g, 4g]."""
        side = self.shape.input_size
        height, width = self.fitted_hw(image_hw)
        fitted = F.interpolate(coarse_logits[:, None].float(), (height, width), mode="bilinear")
        low = fitted.amin(dim=(1, 2, 3), keepdim=True) if self.isolated else fitted.min()
        inside = torch.zeros(side, side, dtype=torch.bool, device=fitted.device)
        inside[:height, :width] = True
        padded = F.pad(fitted, (0, side - width, 0, side - height))
        padded = torch.where(inside, padded, low.clamp(max=-1.0))
        return F.interpolate(padded, (4 * self.grid, 4 * self.grid), mode="bilinear")

    def _position(self) -> torch.Tensor:
        """The position code of every cell of the feature grid, [1, hidden, g, g]."""
        embedding = self.prompt_encoder.shared_embedding
        basis = embedding.positional_embedding
        at = (torch.arange(self.grid, device=basis.device, dtype=basis.dtype) + 0.5) / self.grid
        y, x = torch.meshgrid(at, at, indexing="ij")
        code: torch.Tensor = embedding(torch.stack([x, y], dim=-1))
        return code.permute(2, 0, 1)[None]


@lru_cache(maxsize=64)
def _resampling(count: int, side: int, fitted: int, size: int) -> torch.Tensor:
    """[size, count]: `count` values along an axis, interpolated to a square's `side`, cut to the
    `fitted` part of it and interpolated to `size`. Both steps are linear, and so one small matrix
    an axis does the work of a large picture between them."""
    with torch.inference_mode(False):  # kept, so training must be able to use it later
        square = F.interpolate(torch.eye(count)[None], side, mode="linear")[..., :fitted]
        return F.interpolate(square, size, mode="linear")[0].T


def _extent(hits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First hit and one past the last along the last axis of bool [N, size]; all of it if none."""
    size = hits.shape[1]
    hits = hits | ~hits.any(dim=1, keepdim=True)
    at = hits.long()
    return at.argmax(dim=1), size - at.flip(1).argmax(dim=1)
