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

"""Recorded rows are eager attention's rows; recording changes nothing; a lost mask is noticed."""

from __future__ import annotations

import pytest
import torch
from tiny_model import tiny_llava
from transformers import LlavaForConditionalGeneration

from flmm_ros.engine.lmm import attention
from flmm_ros.engine.lmm.attention import (
    ATTENTION_NAME,
    RECORDER_KEYWORD,
    MissingMaskError,
    RowRecorder,
    join_views,
    merge_views,
)
from flmm_ros.engine.lmm.view import View

IDS = torch.tensor([[1, 5, 6, 8, 20, 21, 9, 22, 23, 24, 25, 7]])


def _with_rows(model: LlavaForConditionalGeneration) -> LlavaForConditionalGeneration:
    model.set_attn_implementation({"text_config": ATTENTION_NAME})
    return model


def _eager_rows(key_value_heads: int) -> torch.Tensor:
    """[B, L, A, S, S] from transformers' own eager attention."""
    model = tiny_llava(key_value_heads)
    model.set_attn_implementation({"text_config": "eager"})
    with torch.inference_mode():
        output = model.model.language_model(IDS, output_attentions=True)
    return torch.stack(output.attentions, dim=1)


@pytest.mark.parametrize("key_value_heads", [4, 2, 1], ids=["mha", "gqa", "mqa"])
@pytest.mark.parametrize("cached", [0, 1, 7], ids=["prefill", "prefix-1", "prefix-7"])
def test_rows_equal_eager_attention(key_value_heads: int, cached: int) -> None:
    model = _with_rows(tiny_llava(key_value_heads))
    rows, columns = [8, 9, 11], torch.tensor([1, 2, 3, 6])
    with torch.inference_mode():
        cache = None
        if cached:
            cache = model.model.language_model(IDS[:, :cached], use_cache=True).past_key_values
        recorder = RowRecorder(torch.tensor([rows]) - cached, columns)
        model.model.language_model(
            IDS[:, cached:], past_key_values=cache, **{RECORDER_KEYWORD: recorder}
        )
    expected = _eager_rows(key_value_heads)[:, :, :, rows][..., columns]
    assert recorder.layers_seen == (0, 1, 2)
    torch.testing.assert_close(recorder.stacked(), expected, atol=1e-5, rtol=0)


def test_recording_changes_no_output() -> None:
    model = _with_rows(tiny_llava(2))
    with torch.inference_mode():
        plain = model.model.language_model(IDS).last_hidden_state
        recorder = RowRecorder(torch.tensor([[3, 5]]), torch.tensor([0]))
        recorded = model.model.language_model(IDS, **{RECORDER_KEYWORD: recorder}).last_hidden_state
        assert torch.equal(plain, recorded)
        sdpa = tiny_llava(2).model.language_model(IDS).last_hidden_state
    torch.testing.assert_close(plain, sdpa, atol=1e-6, rtol=0)


def test_each_sample_of_a_batch_has_its_own_rows() -> None:
    model = _with_rows(tiny_llava())
    ids = torch.cat([IDS, IDS.flip(1)])
    columns = torch.arange(4)
    with torch.inference_mode():
        both = RowRecorder(torch.tensor([[6, 7], [9, -1]]), columns)
        model.model.language_model(ids, **{RECORDER_KEYWORD: both})
        alone = RowRecorder(torch.tensor([[9]]), columns)
        model.model.language_model(ids[1:], **{RECORDER_KEYWORD: alone})
    assert both.stacked().shape == (2, 3, 4, 2, 4)
    torch.testing.assert_close(both.stacked()[1, :, :, :1], alone.stacked()[0], atol=1e-6, rtol=0)


def test_padding_on_the_left_is_masked_out() -> None:
    model = _with_rows(tiny_llava())
    padded = torch.cat([torch.zeros(1, 2, dtype=torch.long), IDS], dim=1)
    mask = torch.ones_like(padded)
    mask[:, :2] = 0
    with torch.inference_mode():
        recorder = RowRecorder(torch.tensor([[9]]), torch.arange(14))
        model.model.language_model(padded, attention_mask=mask, **{RECORDER_KEYWORD: recorder})
    rows = recorder.stacked()
    assert rows[..., :2].max() == 0
    torch.testing.assert_close(rows.sum(-1), torch.ones_like(rows[..., 0]))


def test_rows_see_nothing_later_and_sum_to_one() -> None:
    model = _with_rows(tiny_llava(2))
    with torch.inference_mode():
        recorder = RowRecorder(torch.tensor([[4]]), torch.arange(IDS.shape[1]))
        model.model.language_model(IDS, **{RECORDER_KEYWORD: recorder})
    rows = recorder.stacked()
    assert rows[..., 5:].max() == 0
    torch.testing.assert_close(rows.sum(-1), torch.ones_like(rows[..., 0]))


def test_a_lost_mask_on_a_cached_prefix_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What transformers does when no mask function is registered under the attention's name."""
    monkeypatch.setitem(
        attention.AttentionMaskInterface._global_mapping, ATTENTION_NAME, lambda *_, **__: None
    )
    model = _with_rows(tiny_llava())
    with torch.inference_mode():
        cache = model.model.language_model(IDS[:, :6], use_cache=True).past_key_values
        recorder = RowRecorder(torch.tensor([[1]]), torch.tensor([0]))
        with pytest.raises(MissingMaskError, match="expected a causal mask for 6 new tokens"):
            model.model.language_model(
                IDS[:, 6:], past_key_values=cache, **{RECORDER_KEYWORD: recorder}
            )


def test_a_mask_that_opens_later_tokens_is_caught() -> None:
    model = _with_rows(tiny_llava())
    everything = torch.ones(1, 1, IDS.shape[1], IDS.shape[1], dtype=torch.bool)
    recorder = RowRecorder(torch.tensor([[4]]), torch.tensor([0]))
    with torch.inference_mode(), pytest.raises(MissingMaskError, match="only earlier tokens"):
        model.model.language_model(IDS, attention_mask=everything, **{RECORDER_KEYWORD: recorder})


def test_attention_that_is_not_causal_is_caught() -> None:
    model = _with_rows(tiny_llava())
    recorder = RowRecorder(torch.tensor([[4]]), torch.tensor([0]))
    for layer in model.model.language_model.layers:
        layer.self_attn.is_causal = False
    with torch.inference_mode(), pytest.raises(MissingMaskError, match="expected a causal mask"):
        model.model.language_model(IDS, **{RECORDER_KEYWORD: recorder})


@pytest.mark.parametrize(("merge", "expected"), [("mean", 2.0), ("max", 3.0)])
def test_maps_are_merged_over_a_phrase_and_laid_out_layer_by_layer(
    merge: str, expected: float
) -> None:
    rows = torch.zeros(2, 3, 3, 6)  # L=2, A=3, R=3, I=6
    rows[1, 2, 0, 5], rows[1, 2, 1, 5] = 1.0, 3.0
    view = View("whole", torch.arange(6), (2, 3), (0, 0, 3, 2))
    maps = join_views(merge_views(rows, [(0, 2), (2, 3)], [view], merge))
    assert maps.shape == (2, 6, 2, 3)
    assert maps[0, 1 * 3 + 2, 1, 2] == expected
    assert maps.sum() == expected


def test_columns_without_pixels_are_dropped_and_views_share_the_last_grid() -> None:
    rows = torch.arange(10.0).reshape(1, 1, 1, 10)
    coarse = View("coarse", torch.tensor([0, 1, 2, 3]), (2, 2), (0, 0, 4, 4))
    fine = View("fine", torch.tensor([4, 5, 7, 8]), (2, 2), (0, 0, 4, 4))  # 6 and 9 are newlines
    maps = join_views(merge_views(rows, [(0, 1)], [coarse, fine], "mean"))
    assert maps[0, 0].flatten().tolist() == [0, 1, 2, 3]
    assert maps[0, 1].flatten().tolist() == [4, 5, 7, 8]
