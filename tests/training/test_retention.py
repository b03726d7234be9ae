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

"""The language model stays what it was, bit for bit, whatever is loaded around it and asked."""

import dataclasses
import json
from pathlib import Path

import pytest
import tiny_training
import torch
from tiny_families import FAMILIES, build

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.checkpoint import save_heads
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.lmm import LoadOptions, load_lmm
from training.evaluate import main
from training.evaluation import retention
from training.evaluation.retention import RetentionInputs, check_model, check_retention

CPU = GrounderConfig("tiny", device="cpu", max_new_tokens=4)
SEEN = {"heads loaded", "recorder registered", "after grounding and speaking"}


def tiny(family: str, directory: Path) -> ModelConfig:
    """A tiny random model of a family, with random heads that fit it."""
    config = build(family, directory)
    shape = load_lmm(config, LoadOptions()).shape
    heads = Heads.create(shape, tiny_training.tiny_heads().config)
    save_heads(directory / "heads.safetensors", heads, {"made": "by a test"})
    return dataclasses.replace(
        config, heads=str(directory / "heads.safetensors"), prompt="what is there"
    )


@pytest.mark.parametrize("family", ["llava", *FAMILIES])
def test_every_family_keeps_its_logits(family: str, tmp_path: Path) -> None:
    found = check_model(tiny(family, tmp_path), CPU)
    assert found.holds
    assert set(found.equal_bits) == SEEN
    assert set(found.largest_difference.values()) == {0.0}
    assert found.logits > 3 * retention.WORDS * 20 and found.weights > 20


def test_one_changed_bit_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(grounder: Grounder, inputs: RetentionInputs) -> None:
        weight = grounder.lmm.model.get_output_embeddings().weight
        with torch.no_grad():
            weight.view(torch.int32)[3, 3] ^= 1 << 20

    monkeypatch.setattr(retention, "use", spoil)
    monkeypatch.setattr(retention, "SIZES_HW", ((96, 96),))
    found = check_model(tiny("llava", tmp_path), CPU)
    assert not found.holds and not found.equal_weights
    assert found.equal_bits == {how: not how.startswith("after") for how in SEEN}
    assert found.largest_difference["after grounding and speaking"] > 0


def test_the_embedded_model_keeps_its_logits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.json"
    assert main(["--retention", "--device", "cpu", "--json", str(path)]) == 0
    assert "bit-identical" in capsys.readouterr().out
    found = json.loads(path.read_text())
    assert found["holds"] and found["equal_weights"] and set(found["equal_bits"]) == SEEN


def test_quantised_weights_cannot_be_compared() -> None:
    with pytest.raises(ConfigError, match="quantisation none"):
        check_retention(dataclasses.replace(CPU, quantisation="8bit"))
