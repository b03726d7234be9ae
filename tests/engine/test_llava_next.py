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

"""LLaVA-NeXT and LLaVA-OneVision at their real geometry, against arithmetic written out here.

Pixels are those of the original pre-processing, cells are those the real model keeps of its tiles,
for images of every shape; maps are eager attention's, in every layout.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
import torch.nn.functional as F
import transformers as hf
from numpy.typing import NDArray
from PIL import Image
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.lmm import LoadOptions, load_lmm
from flmm_ros.engine.lmm.families.llava_next import LlavaNext
from flmm_ros.engine.lmm.families.llava_onevision import LlavaOnevision

Size = tuple[int, int]

PATCH = 14
SIDE, SIDE_ONEVISION = 336, 384
LAYOUTS = [(336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008)]
LAYOUTS_ONEVISION = [(384 * a, 384 * b) for a in range(1, 7) for b in range(1, 7)]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
NEWLINE = -1.0
# An image for each of LAYOUTS, and one that fits into all; odd numbers, so that padding is uneven.
LAYOUT_OF = {
    (201, 455): (336, 672),
    (479, 203): (672, 336),
    (395, 600): (672, 672),
    (641, 427): (672, 672),
    (907, 251): (1008, 336),
    (171, 1003): (336, 1008),
    (19, 23): (336, 672),
}


@pytest.fixture(autouse=True)
def small_and_without_gradients() -> Iterator[None]:
    """Tiny tensors are slower on several threads than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def layout_of(image_hw: Size, layouts: list[Size]) -> Size:
    """The canvas with most of the image's pixels on it; of equals, the one with least left over."""
    height, width = image_hw

    def wanted(canvas_hw: Size) -> tuple[int, int]:
        # The scale is the fraction long / side; whole numbers, so that nothing is rounded twice.
        by_width = canvas_hw[1] * height < canvas_hw[0] * width
        long, side = (canvas_hw[1], width) if by_width else (canvas_hw[0], height)
        used = min((width * long // side) * (height * long // side), width * height)
        return -used, canvas_hw[0] * canvas_hw[1] - used

    return min(layouts, key=wanted)


def fitted(image_hw: Size, canvas_hw: Size) -> Size:
    """The image's size on its canvas: one side fills it, the other is rounded up."""
    scale = min(side / length for side, length in zip(canvas_hw, image_hw, strict=True))
    if canvas_hw[1] / image_hw[1] < canvas_hw[0] / image_hw[0]:
        return min(math.ceil(image_hw[0] * scale), canvas_hw[0]), canvas_hw[1]
    return canvas_hw[0], min(math.ceil(image_hw[1] * scale), canvas_hw[1])


def kept_cells(image_hw: Size, canvas_cells: Size) -> Size:
    """Cells left when as many whole ones as fit into the padding go from both of its ends."""
    (height, width), (rows, columns) = image_hw, canvas_cells
    if width * rows > columns * height:
        return rows - 2 * ((rows - height * columns // width) // 2), columns
    return rows, columns - 2 * ((columns - width * rows // height) // 2)


def image_sizes() -> list[Size]:
    """Cameras' and datasets' sizes, both extremes, and many between 16 and 2000 px and 1:8 and 8:1,
    evenly in the logarithm."""
    common = [(480, 640), (427, 640), (640, 425), (720, 1280), (1080, 1920), (336, 336), (672, 672)]
    extremes = [(16, 16), (16, 128), (128, 16), (250, 2000), (2000, 250), (2000, 2000), (17, 23)]
    # Where the kept side is a whole odd number of cells, so that one less would be two less.
    exact = [(440, 640), (640, 440), (55, 176), (176, 55), (94, 752), (1504, 94 * 2)]
    drawn: list[Size] = []
    draw = random.Random(7)
    while len(drawn) < 130:
        hw = tuple(round(math.exp(draw.uniform(math.log(16), math.log(2000)))) for _ in range(2))
        if max(hw) <= 8 * min(hw):
            drawn.append((hw[0], hw[1]))
    return common + extremes + exact + drawn


def text_config() -> hf.LlamaConfig:
    return hf.LlamaConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        vocab_size=8,
    )


def vision_shape(side: int) -> dict[str, Any]:
    return {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": side,
        "patch_size": PATCH,
    }


def unloaded(family: str) -> ModelConfig:
    return ModelConfig(name="geometry", family=family, lmm="none", heads="none")


@pytest.fixture(scope="module")
def next_lmm() -> LlavaNext:
    """The official tiles and patches; all else is as small as it gets."""
    layouts = [list(hw) for hw in LAYOUTS]
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**vision_shape(SIDE)),
        text_config=text_config(),
        image_token_id=1,
        image_grid_pinpoints=layouts,
    )
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_grid_pinpoints=layouts,
    )
    model = hf.LlavaNextForConditionalGeneration(config)
    return LlavaNext(model, None, unloaded("llava_next"), processor)


@pytest.fixture(scope="module")
def onevision_lmm() -> LlavaOnevision:
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**vision_shape(SIDE_ONEVISION), vision_use_head=False),
        text_config=text_config(),
        image_token_id=1,
        video_token_id=2,
        image_grid_pinpoints=[list(hw) for hw in LAYOUTS_ONEVISION],
        vision_aspect_ratio="anyres_max_9",
    )
    model = hf.LlavaOnevisionForConditionalGeneration(config)
    return LlavaOnevision(model, None, unloaded("llava_onevision"), None)


@pytest.mark.parametrize(("hw", "canvas_hw"), LAYOUT_OF.items())
@pytest.mark.parametrize("brightest", [255, 1])
def test_pixels_are_those_of_the_original(
    next_lmm: LlavaNext, hw: Size, canvas_hw: Size, brightest: int
) -> None:
    image = np.random.default_rng(2).integers(0, brightest + 1, (*hw, 3), dtype=np.uint8)
    assert layout_of(hw, LAYOUTS) == canvas_hw

    def resized(to_hw: Size) -> NDArray[np.uint8]:
        return np.array(Image.fromarray(image).resize(to_hw[::-1], Image.Resampling.BICUBIC))

    (height, width), canvas = fitted(hw, canvas_hw), np.zeros((*canvas_hw, 3), np.uint8)
    top, left = (canvas_hw[0] - height) // 2, (canvas_hw[1] - width) // 2
    canvas[top : top + height, left : left + width] = resized((height, width))
    tiles = [resized((SIDE, SIDE))] + [
        canvas[y : y + SIDE, x : x + SIDE]
        for y in range(0, canvas_hw[0], SIDE)
        for x in range(0, canvas_hw[1], SIDE)
    ]
    expected = (np.stack(tiles) / 255 - np.array(MEAN)) / np.array(STD)
    got = next_lmm.prepare(image)
    assert got["image_sizes"].tolist() == [list(hw)]
    assert got["pixel_values"].shape[:2] == (1, len(tiles))
    np.testing.assert_allclose(
        got["pixel_values"][0].numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5
    )


def cell_places(canvas_hw: Size, side: int) -> torch.Tensor:
    """What stands for image features: where each cell's middle lies, y and x in pixels; of the
    squashed tile on itself, of the others on the canvas. [1 + tiles, cells, 2], as an encoder's."""
    grid = side // PATCH
    middles = (torch.arange(grid) + 0.5) * PATCH
    tile = torch.stack(torch.meshgrid(middles, middles, indexing="ij"), dim=-1).flatten(0, 1)
    corners = [
        torch.tensor([row, column]) * side
        for row in range(canvas_hw[0] // side)
        for column in range(canvas_hw[1] // side)
    ]
    return torch.stack([tile, *(tile + corner for corner in corners)])


def packed(lmm: LlavaNext, hw: Size, canvas_hw: Size, **more: Any) -> torch.Tensor:
    """What the real model makes of the tiles' cells: the place of each image token, [I, 2]."""
    (features,), lengths = lmm.model.model.pack_image_features(
        [cell_places(canvas_hw, lmm.side)],
        torch.tensor([hw]),
        image_newline=torch.full((2,), NEWLINE),
        **more,
    )
    assert lengths.tolist() == [len(features)]
    return features


def check_columns(lmm: LlavaNext, hw: Size, tokens: torch.Tensor) -> None:
    """As many ids as tokens; each token but a newline belongs to one cell of one view."""
    assert lmm.image_ids(hw) == [lmm.image_token_id] * len(tokens), hw
    coarse, fine = lmm.views(hw)
    seen = torch.cat([coarse.columns, fine.columns])
    no_newline = (tokens[:, 0] != NEWLINE).nonzero()[:, 0]
    assert torch.equal(seen.sort().values, no_newline), hw
    whole = cell_places((lmm.side, lmm.side), lmm.side)[0]
    assert torch.equal(tokens[coarse.columns], whole), hw
    assert fine.columns.numel() == math.prod(fine.grid_hw), hw


def check_places(lmm: LlavaNext, hw: Size, canvas_hw: Size, tokens: torch.Tensor) -> None:
    """Cells lie in the image where the fine view says: to half a cell, as what is trimmed is whole
    cells, and to what an encoder leaves out of each tile whose side is no multiple of a patch."""
    fine = lmm.views(hw)[1]
    x0, y0, x1, y1 = fine.box_xyxy_px
    cells = tokens[fine.columns].reshape(*fine.grid_hw, 2)
    scale = min(side / length for side, length in zip(canvas_hw, hw, strict=True))
    most = PATCH / 2 + lmm.side % PATCH
    for axis, (start, stop) in enumerate(((y0, y1), (x0, x1))):
        count = fine.grid_hw[axis]
        said = start + (torch.arange(count) + 0.5) / count * (stop - start)
        said = (canvas_hw[axis] - hw[axis] * scale) / 2 + said * scale
        there = cells.movedim(axis, 0)[..., axis]
        assert (there - said[:, None]).abs().max() <= most + 1e-2, (hw, axis)


def test_next_cells_are_those_the_model_keeps(next_lmm: LlavaNext) -> None:
    for hw in image_sizes():
        canvas_hw = layout_of(hw, LAYOUTS)
        tokens = packed(next_lmm, hw, canvas_hw, vision_feature_select_strategy="default")
        check_columns(next_lmm, hw, tokens)
        check_places(next_lmm, hw, canvas_hw, tokens)
        expected = kept_cells(hw, (canvas_hw[0] // PATCH, canvas_hw[1] // PATCH))
        assert next_lmm.views(hw)[1].grid_hw == expected, hw


def test_onevision_cells_are_those_the_model_keeps(onevision_lmm: LlavaOnevision) -> None:
    shrunk = 0
    for hw in image_sizes():
        canvas_hw = layout_of(hw, LAYOUTS_ONEVISION)
        tokens = packed(onevision_lmm, hw, canvas_hw, vision_aspect_ratio="anyres_max_9")
        check_columns(onevision_lmm, hw, tokens)
        check_places(onevision_lmm, hw, canvas_hw, tokens)
        grid = onevision_lmm.grid
        canvas_cells = (
            canvas_hw[0] // SIDE_ONEVISION * grid,
            canvas_hw[1] // SIDE_ONEVISION * grid,
        )
        shrunk += onevision_lmm.views(hw)[1].grid_hw != kept_cells(hw, canvas_cells)
    assert shrunk > 4  # the sizes reach the limit of the fine grid


@pytest.fixture(scope="module")
def small_tiles(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    """The same five layouts in tiles of 4 x 4 cells, with two layers and a tokenizer."""
    return tiny_families.build("llava_next", tmp_path_factory.mktemp("next"))


@pytest.mark.parametrize("merge", ["mean", "max"])
def test_maps_are_eager_attention_in_every_layout(small_tiles: ModelConfig, merge: str) -> None:
    lmm = load_lmm(dataclasses.replace(small_tiles, merge=merge), LoadOptions())
    assert isinstance(lmm, LlavaNext)
    model = lmm.model.model
    suffix = lmm.text().reading("what is there", "the red mug . a cube", ((0, 11), (14, 20)))
    for hw in LAYOUT_OF:
        image = np.random.default_rng(6).integers(0, 256, (*hw, 3), dtype=np.uint8)
        prefix = lmm.encode(image)
        got = lmm.read(prefix, suffix.ids, suffix.spans).maps
        before = lmm.text().prefix()
        at = before.index(lmm.image_token_id)
        tokens = prefix.length - len(before) + 1
        ids = [*before[:at], *[lmm.image_token_id] * tokens, *before[at + 1 :], *suffix.ids]
        model.set_attn_implementation({"text_config": "eager"})
        rows = model(
            input_ids=torch.tensor([ids]), output_attentions=True, **lmm.prepare(image)
        ).attentions
        model.set_attn_implementation({"text_config": "flmm_rows"})
        attention = torch.cat(rows)[..., at : at + tokens].flatten(0, 1)  # [L * A, S, I]
        columns = lmm.views(hw)[1].grid_hw[1]
        for n, (start, stop) in enumerate(suffix.spans):
            phrase = attention[:, prefix.length + start : prefix.length + stop]
            merged = phrase.amax(1) if merge == "max" else phrase.mean(1)
            coarse = merged[:, : lmm.grid**2].unflatten(1, (lmm.grid, lmm.grid))
            fine = merged[:, lmm.grid**2 :].unflatten(1, (-1, columns + 1))[..., :-1]
            coarse = F.interpolate(coarse[None], fine.shape[-2:], mode="bilinear")[0]
            torch.testing.assert_close(got[n], torch.cat([coarse, fine]), atol=1e-6, rtol=0)
