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

"""Models by every kind of name, and 8 and 4 bits."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import tiny_families
import torch

from flmm_ros.engine.config import TRAINING_FREE, find_model
from flmm_ros.engine.config.model_search import locate_model
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.lmm import LoadOptions, load_lmm

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5-VL as somebody would have downloaded it."""
    where = tmp_path_factory.mktemp("hub") / "tiny-qwen"
    tiny_families.build("qwen2_5_vl", where)
    return where


@pytest.fixture
def hub(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds owner/tiny-qwen at one commit, and a hub that cannot be reached."""
    home = tmp_path / "models--owner--tiny-qwen"
    (home / "snapshots").mkdir(parents=True)
    (home / "snapshots" / COMMIT).symlink_to(weights)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_names_and_files_mean_what_they_did() -> None:
    assert locate_model("tabletop") == find_model("tabletop")
    with pytest.raises(ConfigError, match="known: .*tabletop"):
        locate_model("no_such_model")
    with pytest.raises(ConfigError, match="expected a YAML file"):
        locate_model("no/such.yaml")


def test_a_directory_with_weights_is_a_model(weights: Path) -> None:
    model = locate_model(str(weights))
    packaged = find_model("qwen2_5_vl_7b")
    assert (model.name, model.family, model.lmm) == ("tiny-qwen", "qwen2_5_vl", str(weights))
    assert (model.template, model.next_turn) == (packaged.template, packaged.next_turn)
    assert (model.heads, model.sam) == (TRAINING_FREE, "")
    assert Path(model.localisation) == weights / "localisation.json"


def test_a_hub_id_is_found_in_the_cache_and_says_that_it_is_not_pinned(
    hub: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = locate_model("owner/tiny-qwen")
    assert (model.lmm, model.family, model.revision) == ("owner/tiny-qwen", "qwen2_5_vl", COMMIT)
    assert f"use owner/tiny-qwen@{COMMIT}" in caplog.text
    caplog.clear()
    assert locate_model(f"owner/tiny-qwen@{COMMIT}").revision == COMMIT
    assert not caplog.text


def test_what_is_not_here_is_not_fetched_unless_asked(hub: Path) -> None:
    with pytest.raises(ConfigError, match="download:=true"):
        locate_model("owner/another")


def test_weights_of_an_unknown_family_list_the_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match="got 'bert'; known: .*qwen2_5_vl"):
        locate_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="expected a transformers configuration"):
        locate_model(str(tmp_path))


@pytest.mark.parametrize(("bits", "most"), [("8bit", 0.35), ("4bit", 0.25)])
def test_quantised_models_are_smaller_and_point_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: str, most: float
) -> None:
    pytest.importorskip("bitsandbytes")
    os.environ.setdefault("BITSANDBYTES_NOWELCOME", "1")
    # Some processors multiply 4 bits in blocks of 32 x 64, which real models have.
    text, blocks = (
        tiny_families._text,
        {"hidden_size": 64, "intermediate_size": 64, "initializer_range": 0.15},
    )
    monkeypatch.setattr(tiny_families, "_text", lambda **more: text(**(blocks | more)))
    config = tiny_families.build("llava_next", tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)

    def read(quantisation: str) -> tuple[torch.Tensor, torch.Tensor, int]:
        lmm = load_lmm(config, LoadOptions(quantisation=quantisation))
        suffix = lmm.text().reading("what is there", "the red mug", [(0, 11)])
        layers = lmm.model.model.language_model.layers
        small = [n for n, m in lmm.model.named_modules() if "bit" in type(m).__name__]
        assert bool(small) == (quantisation != "none")
        assert all(".language_model.layers." in name for name in small), small
        stored = sum(p.numel() * p.element_size() for p in layers.parameters())
        with torch.inference_mode():
            maps = lmm.read(lmm.encode(image), suffix.ids, suffix.spans).maps
            lmm.model.set_attn_implementation({"text_config": "eager"})
            prefix = lmm._expand(lmm.text().prefix(), (120, 200))
            ids = torch.cat([prefix, torch.tensor(suffix.ids)])[None]
            eager = lmm.model.model(
                input_ids=ids, output_attentions=True, **lmm.prepare(image)
            ).attentions
        (start, stop), view = suffix.spans[0], lmm.views((120, 200))[-1]
        columns = (prefix == lmm.image_token_id).nonzero()[:, 0][view.columns]
        rows = torch.stack(eager)[:, 0, :, len(prefix) + start : len(prefix) + stop]
        return maps[0, -8:], rows[..., columns].mean(2).reshape(8, *view.grid_hw), stored

    full, _, full_bytes = read("none")
    maps, eager, stored = read(bits)
    assert stored < most * full_bytes
    torch.testing.assert_close(maps, eager.float(), atol=5e-3, rtol=0)
    similar = torch.nn.functional.cosine_similarity(full.flatten(1), maps.flatten(1))
    # Random weights a few dozen wide are what 4 bits do worst at.
    assert similar.mean() > {"8bit": 0.95, "4bit": 0.7}[bits]
