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

"""One suite for every LMM family, on tiny random models of the real classes with the real image
processors: rows are eager attention's, nothing else changes, and tokens lie where `views` says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
import transformers as hf
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from flmm_ros.engine.errors import ConfigError, ImageError, PromptError
from flmm_ros.engine.lmm import FAMILIES, Lmm, LoadOptions, joined_arguments, load_lmm
from flmm_ros.engine.lmm.attention import RECORDER_KEYWORD, RowRecorder, merge_views
from flmm_ros.engine.lmm.prefix import cropped
from flmm_ros.engine.lmm.view import View

QUESTION, ANSWER = "what is there", "the red mug . a cube"
SPANS = ((0, 11), (14, 20))
LANDSCAPE, PORTRAIT, SQUARE = (120, 200), (210, 90), (150, 150)
# Attention of vision encoders carries a change everywhere; without it a token shows its own pixels.
TOWER_ATTENTION = ("out_proj", "attn.proj.", "self_attn.o_proj", "projection_layer")


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def lmm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lmm:
    """The family's tiny model, written to disk and loaded."""
    where: Path = tmp_path_factory.mktemp(request.param)
    return load_lmm(tiny_families.build(request.param, where), LoadOptions())


@pytest.fixture(autouse=True)
def small_and_without_gradients() -> Iterator[None]:
    """Tiny tensors are slower on several threads than on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(threads)


def picture(hw: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), dtype=np.uint8)


def suffix_of(lmm: Lmm) -> Any:
    return lmm.text().reading(QUESTION, ANSWER, SPANS)


def whole(lmm: Lmm, image: NDArray[np.uint8], suffix: tuple[int, ...], attention: str) -> Any:
    """One forward of image and suffix without cache or recorder."""
    image_hw = (image.shape[0], image.shape[1])
    prefix = lmm._expand(lmm.text().prefix(), image_hw)
    ids = torch.cat([prefix, torch.tensor(suffix)])[None]
    positions = lmm.positions(ids, image_hw)
    own = lmm.model.config.get_text_config()._attn_implementation
    lmm.model.set_attn_implementation({"text_config": attention})
    try:
        return lmm.model.model(
            input_ids=ids,
            use_cache=False,
            output_hidden_states=True,
            output_attentions=attention == "eager",
            **({} if positions is None else {"position_ids": positions}),
            **lmm.more_arguments(ids),
            **lmm.prepare(image),
        )
    finally:
        lmm.model.set_attn_implementation({"text_config": own})


@pytest.mark.parametrize(
    ("family", "hw"),
    [("llava_next", (20, 400)), ("qwen2_5_vl", (16, 3201)), ("qwen3_vl", (3201, 16))],
)
def test_a_narrow_image_that_cannot_be_seen_is_refused(
    family: str, hw: tuple[int, int], tmp_path: Path
) -> None:
    lmm = load_lmm(tiny_families.build(family, tmp_path), LoadOptions())
    with pytest.raises(ImageError, match=f"not so narrow, got {hw[1]}x{hw[0]}.*{family!r}"):
        lmm.encode(picture(hw))


@pytest.mark.parametrize("hw", [LANDSCAPE, PORTRAIT, SQUARE])
def test_recorded_rows_are_those_of_eager_attention(lmm: Lmm, hw: tuple[int, int]) -> None:
    image, suffix = picture(hw), suffix_of(lmm)
    prefix = lmm.encode(image)
    eager = whole(lmm, image, suffix.ids, "eager").attentions
    expected = torch.stack(eager)[:, 0].float()  # [L, A, S, S]
    for got in (
        lmm.read(prefix, suffix.ids, suffix.spans),
        lmm.read_batch(lmm.prepare(image), lmm.text().prefix(), [suffix.ids], [suffix.spans], [hw])[
            0
        ],
    ):
        for n, (start, stop) in enumerate(suffix.spans):
            rows = expected[:, :, prefix.length + start : prefix.length + stop]
            rows = rows[..., prefix.columns]
            maps = merge_views(rows, [(0, stop - start)], prefix.views, "mean")
            for ours, theirs in zip(got.view_maps, maps, strict=True):
                torch.testing.assert_close(ours[n], theirs[0], atol=1e-5, rtol=0)


def test_recording_and_caching_change_nothing(lmm: Lmm) -> None:
    image, suffix = picture(LANDSCAPE), suffix_of(lmm)
    plain = whole(lmm, image, suffix.ids, "sdpa")
    prefix = lmm.encode(image)
    expected = torch.stack(plain.hidden_states[1:])[:, 0, prefix.length :]
    first = lmm.read(prefix, suffix.ids, suffix.spans)
    scale = float(expected.abs().max())
    torch.testing.assert_close(first.all_states, expected, atol=1e-5 * max(1, scale), rtol=1e-4)
    again = lmm.read(prefix, suffix.ids, suffix.spans)  # the cache is as long as it was
    torch.testing.assert_close(again.all_states, first.all_states, atol=0, rtol=0)
    head = lmm.model.get_output_embeddings()
    assert torch.equal(
        head(first.all_states[-1]).argmax(-1),
        head(plain.last_hidden_state[0, prefix.length :]).argmax(-1),
    )


def test_rows_read_after_the_answer_are_those_of_decoding_it(lmm: Lmm) -> None:
    prefix, question = lmm.encode(picture(LANDSCAPE)), lmm.text().question(QUESTION)
    ids = lmm.generate(prefix, question.ids, max_new_tokens=5).ids
    assert ids
    spans = [(len(question.ids) + n, len(question.ids) + n + 1) for n in range(len(ids))]
    after = lmm.read(prefix, question.ids + ids, spans)
    with cropped(prefix):
        steps = [list(question.ids), *([i] for i in ids)]
        done = 0
        for n, step in enumerate(steps):
            recorder = RowRecorder(torch.tensor([[len(step) - 1]]), prefix.columns)
            positions = prefix.next_positions(done, len(step))
            lmm.model.model(
                input_ids=torch.tensor([step]),
                past_key_values=prefix.cache,
                use_cache=True,
                **({} if positions is None else {"position_ids": positions}),
                **{RECORDER_KEYWORD: recorder},
            )
            done += len(step)
            if n:
                maps = merge_views(recorder.stacked()[0], [(0, 1)], prefix.views, "mean")
                for ours, theirs in zip(after.view_maps, maps, strict=True):
                    torch.testing.assert_close(ours[n - 1], theirs[0], atol=1e-5, rtol=0)


def test_two_images_at_once_do_not_mix(lmm: Lmm) -> None:
    suffix = suffix_of(lmm)
    alone = [
        lmm.read(lmm.encode(picture(hw)), suffix.ids, suffix.spans) for hw in (LANDSCAPE, PORTRAIT)
    ]
    prefixes = [lmm.encode(picture(hw)) for hw in (LANDSCAPE, PORTRAIT)]
    for prefix, expected in zip(prefixes, alone, strict=True):
        got = lmm.read(prefix, suffix.ids, suffix.spans)
        torch.testing.assert_close(got.maps, expected.maps, atol=1e-6, rtol=0)


def test_a_batch_is_read_as_its_images_are(lmm: Lmm) -> None:
    sizes = (LANDSCAPE, PORTRAIT)
    images = [picture(hw, seed) for seed, hw in enumerate(sizes)]
    suffix = suffix_of(lmm)
    shorter = (suffix.ids[: suffix.spans[0][1]], suffix.spans[:1])
    got = lmm.read_batch(
        joined_arguments([lmm.prepare(image) for image in images]),
        lmm.text().prefix(),
        [suffix.ids, shorter[0]],
        [suffix.spans, shorter[1]],
        sizes,
    )
    for image, (ids, spans), reading in zip(
        images, ((suffix.ids, suffix.spans), shorter), got, strict=True
    ):
        expected = lmm.read(lmm.encode(image), ids, spans)
        torch.testing.assert_close(reading.maps, expected.maps, atol=1e-5, rtol=0)
        torch.testing.assert_close(reading.all_states, expected.all_states, atol=1e-4, rtol=1e-4)


def features(lmm: Lmm, image: NDArray[np.uint8]) -> torch.Tensor:
    """What stands in the place of the image tokens, [I, D]."""
    arguments: Mapping[str, Any] = lmm.prepare(image)
    found = lmm.model.model.get_image_features(**arguments, return_dict=True).pooler_output
    parts = found if isinstance(found, (list, tuple)) else [found]
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]).float()


@pytest.fixture
def near_sighted(lmm: Lmm) -> Iterator[Lmm]:
    """The model with vision encoders whose patches do not talk to each other."""
    text = (
        {id(p) for p in lmm.model.model.language_model.parameters()}
        if hasattr(lmm.model.model, "language_model")
        else {id(p) for p in lmm.model.model.text_model.parameters()}
    )
    changed = [
        (p, p.clone())
        for name, p in lmm.model.model.named_parameters()
        if id(p) not in text and any(part in name for part in TOWER_ATTENTION)
    ]
    assert changed
    for p, _ in changed:
        p.zero_()
    yield lmm
    for p, before in changed:
        p.copy_(before)


def middles(view: View, hw: tuple[int, int]) -> dict[tuple[int, int], tuple[slice, slice]]:
    """Cells of a view in the corners and the centre of the image, and the pixels in the middle of
    each. Cells that reach into padding are no such cells."""
    (rows, columns), (x0, y0, x1, y1) = view.grid_hw, view.box_xyxy_px
    wide, high = (x1 - x0) / columns, (y1 - y0) / rows

    def inner(first: float, length: float, count: int, end: int) -> dict[int, slice]:
        ranges = {
            n: slice(int(first + (n + 0.2) * length), int(first + (n + 0.8) * length) + 1)
            for n in range(count)
        }
        return {n: r for n, r in ranges.items() if r.start >= 0 and r.stop <= end}

    down, across = inner(y0, high, rows, hw[0]), inner(x0, wide, columns, hw[1])
    ends_y, ends_x = (list(some)[:: max(1, len(some) - 1)] for some in (down, across))
    cells = [(r, c) for r in ends_y for c in ends_x]
    cells.append((list(down)[len(down) // 2], list(across)[len(across) // 2]))
    return {(r, c): (down[r], across[c]) for r, c in cells}


@pytest.mark.parametrize("hw", [LANDSCAPE, PORTRAIT, SQUARE])
def test_tokens_lie_where_the_views_say(near_sighted: Lmm, hw: tuple[int, int]) -> None:
    lmm, image = near_sighted, picture(hw, 4)
    before = features(lmm, image)
    assert len(before) == lmm.image_ids(hw).count(lmm.image_token_id)
    for view in lmm.views(hw):
        # LLaVA-NeXT may keep a row of padding, and OneVision shrinks its grid: a cell of theirs may
        # share its pixels with the next one.
        reach = 1 if view.name == "fine" else 0
        for (row, column), pixels in middles(view, hw).items():
            other = image.copy()
            other[pixels] = 255 - other[pixels]
            change = (features(lmm, other) - before).abs().amax(dim=1)
            grid = change[view.columns].reshape(view.grid_hw)
            near = torch.zeros_like(grid, dtype=torch.bool)
            near[
                max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1
            ] = True
            peak = float(grid[near].max())
            assert peak > 0 and grid[row, column] > 0.1 * peak, (view.name, row, column, grid)
            assert not (grid[~near] > 0.02 * peak).any(), (view.name, row, column, grid)


def test_channels_are_derived_and_the_same_for_every_image(lmm: Lmm) -> None:
    text, suffix = lmm.model.config.get_text_config(), suffix_of(lmm)
    shape = lmm.shape
    assert (shape.layers, shape.heads, shape.width) == (
        text.num_hidden_layers,
        text.num_attention_heads,
        text.hidden_size,
    )
    for hw in (LANDSCAPE, PORTRAIT, SQUARE, (20, 20), (40, 200)):
        maps = lmm.read(lmm.encode(picture(hw)), suffix.ids, suffix.spans).maps
        assert maps.shape[1] == shape.map_channels == shape.layers * shape.heads * shape.views
        assert maps.shape[-2:] == lmm.views(hw)[-1].grid_hw


def test_no_image_or_several_are_refused(lmm: Lmm) -> None:
    marker = lmm.text().tokenizer.convert_ids_to_tokens(lmm.image_token_id)
    with pytest.raises(PromptError, match="1 more image marker"):
        lmm.text().question(f"what is {marker} there")
    once = lmm.text().prefix()
    with pytest.raises(PromptError, match=f"exactly one image, got 2; LMM family '{lmm.family}'"):
        lmm.encode(picture(SQUARE), [*once, lmm.image_token_id])
    with pytest.raises(PromptError, match="exactly one image, got 0"):
        lmm.encode(picture(SQUARE), [i for i in once if i != lmm.image_token_id])
    lmm.text().template, kept = "user : {text}", lmm.text().template
    with pytest.raises(ConfigError, match="does .* hold the model's image marker"):
        lmm.text().question("what")
    lmm.text().template = kept


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numel = max(self.numel, made.numel())
        return made


def test_memory_of_recording_grows_with_rows_and_columns_only(
    lmm: Lmm, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix, suffix = lmm.encode(picture(LANDSCAPE)), suffix_of(lmm)
    real, noted, recorders = RowRecorder.record, Largest(), []

    def record(self: RowRecorder, *args: Any) -> None:
        recorders.append(self)
        with noted:
            real(self, *args)

    monkeypatch.setattr(RowRecorder, "record", record)
    lmm.read(prefix, suffix.ids, suffix.spans)
    rows = sum(stop - start for start, stop in suffix.spans)
    shape, keys = lmm.shape, prefix.length + len(suffix.ids)
    kept = recorders[0].stacked()
    assert kept.shape == (1, shape.layers, shape.heads, rows, len(prefix.columns))
    width = int(prefix.cache.layers[0].keys.shape[-1])
    assert noted.numel <= max(shape.heads * rows * keys, shape.heads * len(suffix.ids) * width)


def test_a_layer_that_bypasses_the_recorder_is_named(lmm: Lmm) -> None:
    prefix, suffix = lmm.encode(picture(SQUARE)), suffix_of(lmm)
    attention = next(
        m
        for name, m in lmm.model.model.named_modules()
        if name.endswith("layers.1.self_attn") and ("language" in name or "text" in name)
    )
    kept, attention.config = attention.config, copy.deepcopy(attention.config)
    attention.config._attn_implementation = "sdpa"
    try:
        with pytest.raises(
            RuntimeError, match=f"LMM family '{lmm.family}': expected attention rows"
        ):
            lmm.read(prefix, suffix.ids, suffix.spans)
    finally:
        attention.config = kept


def test_a_cancelled_answer_leaves_the_prefix_usable(lmm: Lmm) -> None:
    prefix, suffix = lmm.encode(picture(SQUARE)), suffix_of(lmm)
    expected = lmm.read(prefix, suffix.ids, suffix.spans).maps

    def stop(ids: tuple[int, ...]) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError):
        lmm.generate(prefix, lmm.text().question(QUESTION).ids, max_new_tokens=5, on_token=stop)
    torch.testing.assert_close(lmm.read(prefix, suffix.ids, suffix.spans).maps, expected)


PROCESSORS = {
    "deepseek_vl": hf.DeepseekVLProcessor,
    "deepseek_vl_hybrid": hf.DeepseekVLHybridProcessor,
    "idefics3": hf.Idefics3Processor,
    "internvl": hf.InternVLProcessor,
    "smolvlm": hf.SmolVLMProcessor,
}


@pytest.mark.parametrize("family", sorted(PROCESSORS))
def test_an_image_becomes_the_tokens_of_the_real_processor(family: str, tmp_path: Path) -> None:
    lmm: Any = load_lmm(tiny_families.build(family, tmp_path), LoadOptions())
    made_of_one_tile = lmm._grid if family.startswith("deepseek") else lmm._side
    # What its method reads. Some need torchvision, for videos, before they can be built.
    processor = SimpleNamespace(
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        global_image_tag="<global-img>",
        image_token="<image>",
        start_image_token="",  # InternVL's template holds these two
        end_image_token="",
        **dict.fromkeys(
            ("image_seq_len", "image_seq_length", "num_image_tokens"), made_of_one_tile**2
        ),
    )
    for hw in (LANDSCAPE, PORTRAIT, SQUARE, (20, 20), (56, 56), (40, 300), (333, 97), (72, 128)):
        made = lmm.processed_size(hw)
        text = PROCESSORS[family].replace_image_token(processor, made, 0)
        expected = lmm.text().tokenizer(text, add_special_tokens=False).input_ids
        assert lmm.image_ids(hw) == expected, hw


def test_an_image_that_is_not_split_is_both_views(tmp_path: Path) -> None:
    config = tiny_families.build("smolvlm", tmp_path)
    settings = tmp_path / "preprocessor_config.json"
    changed = {**json.loads(settings.read_text()), "do_image_splitting": False}
    settings.write_text(json.dumps(changed))
    lmm = load_lmm(config, LoadOptions())
    whole, tiles = lmm.views(LANDSCAPE)
    assert torch.equal(whole.columns, tiles.columns) and whole.grid_hw == tiles.grid_hw == (2, 2)
    assert lmm.image_ids(LANDSCAPE).count(lmm.image_token_id) == 4
    suffix = suffix_of(lmm)
    maps = lmm.read(lmm.encode(picture(LANDSCAPE)), suffix.ids, suffix.spans).maps
    first, second = maps.chunk(2, dim=1)
    assert maps.shape[1] == lmm.shape.map_channels and torch.equal(first, second)


def test_gemma_sees_one_square_whatever_its_processor_is_set_to(tmp_path: Path) -> None:
    config = tiny_families.build("gemma3", tmp_path)
    settings = tmp_path / "preprocessor_config.json"
    scans = {
        "do_pan_and_scan": True,
        "pan_and_scan_min_crop_size": 8,
        "pan_and_scan_max_num_crops": 4,
        "pan_and_scan_min_ratio_to_activate": 1.1,
    }
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **scans}))
    lmm: Any = load_lmm(config, LoadOptions())
    assert len(lmm.image_processor(picture((60, 200)), return_tensors="pt")["pixel_values"]) > 1
    assert len(lmm.prepare(picture((60, 200)))["pixel_values"]) == 1


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("hw", [LANDSCAPE, PORTRAIT, SQUARE])
def test_positions_are_the_models_own(family: str, hw: tuple[int, int], tmp_path: Path) -> None:
    lmm = load_lmm(tiny_families.build(family, tmp_path), LoadOptions())
    image, suffix = picture(hw), suffix_of(lmm)
    ids = torch.cat([lmm._expand(lmm.text().prefix(), hw), torch.tensor(suffix.ids)])[None]
    types = (ids == lmm.image_token_id).int()
    grid = lmm.prepare(image)["image_grid_thw"]
    expected, _ = lmm.model.model.get_rope_index(ids, types, image_grid_thw=grid)
    ours = lmm.positions(ids, hw)
    assert ours is not None and torch.equal(ours, expected)
    prefix = lmm.encode(image)
    following = prefix.next_positions(0, len(suffix.ids))
    assert following is not None and torch.equal(following, expected[..., prefix.length :])
