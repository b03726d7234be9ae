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

"""The language model: prompts cut at the image, reads on a cached prefix, batches, generation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_model import word_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import CheckpointError, ConfigError, PromptError, UnknownWordError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.lmm import Lmm, LmmReading, LoadOptions, load_lmm
from flmm_ros.engine.lmm.prefix import Prefix
from flmm_ros.engine.lmm.tokens import PromptTokens

TEMPLATE = "USER: <image>\n{text} ASSISTANT:"
ANSWER = "the red mug. the blue cube"
SPANS = [(0, 11), (13, 26)]


def piece_tokenizer() -> PreTrainedTokenizerFast:
    """Sub-word pieces with a space mark in front of words and byte fallback, as LLaVA's is."""
    tokenizer = Tokenizer(models.BPE(unk_token=None, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    pieces = [f"<0x{i:02X}>" for i in range(256)]
    text = (
        "USER: please give me a description of the image. ASSISTANT: the red mug the blue cube " * 3
    )
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<s>", "</s>", *pieces])
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False, prepend_scheme="first")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return fast


@pytest.fixture(params=[word_tokenizer, piece_tokenizer], ids=["words", "pieces"])
def tokens(request: pytest.FixtureRequest) -> PromptTokens:
    tokenizer = request.param()
    return PromptTokens(tokenizer, TEMPLATE, tokenizer.convert_tokens_to_ids("<image>"))


def test_prefix_and_suffix_are_the_whole_prompt(tokens: PromptTokens) -> None:
    prompt = "Please give me a description of the image."
    suffix = tokens.reading(prompt, ANSWER, SPANS)
    whole = tokens.tokenizer(f"USER: <image>\n{prompt} ASSISTANT: {ANSWER}").input_ids
    assert [*tokens.prefix(), *suffix.ids] == whole
    assert tokens.prefix()[-1] == tokens.image_token_id
    question = tokens.question(prompt)
    assert suffix.ids[: len(question.ids)] == question.ids


def test_spans_hold_exactly_the_phrase(tokens: PromptTokens) -> None:
    suffix = tokens.reading("please", ANSWER, SPANS)
    said = [tokens.tokenizer.decode(list(suffix.ids[a:b])).strip() for a, b in suffix.spans]
    assert said == ["the red mug", "the blue cube"]


def test_generated_ids_are_found_again_in_their_text(tokens: PromptTokens) -> None:
    ids = tokens.tokenizer(f"a {ANSWER}", add_special_tokens=False).input_ids
    decoded = tokens.decode(ids)
    start = decoded.text.index("the blue cube")
    a, b = decoded.token_span((start, start + len("the blue cube")))
    assert tokens.tokenizer.decode(ids[a:b]).strip() == "the blue cube"
    with pytest.raises(PromptError, match="got no token there"):
        decoded.token_span((900, 901))


def test_unknown_words_are_named_as_the_user_wrote_them() -> None:
    tokens = PromptTokens(word_tokenizer(), TEMPLATE, 4)
    with pytest.raises(UnknownWordError, match="got 'Zebra', 'XYLOPHONE'") as error:
        tokens.question("is there a Zebra, a XYLOPHONE, a Zebra?")
    assert error.value.words == ("Zebra", "XYLOPHONE")


def test_a_template_without_text_or_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="exactly one '{text}'"):
        PromptTokens(word_tokenizer(), "USER: <image>", 4)
    with pytest.raises(ConfigError, match="expected the image token"):
        PromptTokens(word_tokenizer(), "USER: {text}", 4).prefix()


@pytest.fixture
def lmm(shared_grounder: Grounder) -> Lmm:
    return shared_grounder.lmm


@pytest.fixture
def prefix(lmm: Lmm, image: NDArray[np.uint8]) -> Prefix:
    with torch.inference_mode():
        return lmm.encode(image, keep_states=True)


def _read(lmm: Lmm, prefix: Prefix, answer: str = ANSWER) -> LmmReading:
    suffix = lmm.text().reading("please", answer, SPANS[:1] if answer != ANSWER else SPANS)
    with torch.inference_mode():
        return lmm.read(prefix, suffix.ids, suffix.spans)


def test_a_read_on_the_prefix_equals_a_whole_forward(
    lmm: Lmm, prefix: Prefix, image: NDArray[np.uint8]
) -> None:
    suffixes = [
        lmm.text().reading("please", ANSWER, SPANS),
        lmm.text().reading("please", "the red mug", SPANS[:1]),
    ]
    pixels = {k: v.repeat(2, 1, 1, 1) for k, v in lmm.prepare(image).items()}
    with torch.inference_mode():
        batch = lmm.read_batch(
            pixels,
            lmm.text().prefix(),
            [s.ids for s in suffixes],
            [s.spans for s in suffixes],
            [image.shape[:2]] * 2,
        )
        for whole, suffix in zip(batch, suffixes, strict=True):
            alone = lmm.read(prefix, suffix.ids, suffix.spans)
            torch.testing.assert_close(whole.maps, alone.maps, atol=1e-5, rtol=0)
            torch.testing.assert_close(whole.all_states, alone.all_states, atol=1e-4, rtol=1e-4)
            for a, b in zip(whole.states, alone.states, strict=True):
                torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_reading_and_answering_leave_the_prefix_as_it_was(lmm: Lmm, prefix: Prefix) -> None:
    first = _read(lmm, prefix)
    with torch.inference_mode():
        ids = lmm.generate(prefix, lmm.text().question("please").ids, max_new_tokens=4).ids
        again = lmm.generate(prefix, lmm.text().question("please").ids, max_new_tokens=4).ids
    assert ids == again
    assert prefix.cache.get_seq_length() == prefix.length
    torch.testing.assert_close(_read(lmm, prefix).maps, first.maps)


def test_an_interrupted_forward_leaves_the_prefix_as_it_was(
    lmm: Lmm, prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _read(lmm, prefix)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    layer = lmm.model.model.language_model.layers[1]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(layer.mlp, "forward", fail)
        _read(lmm, prefix)
    torch.testing.assert_close(_read(lmm, prefix).maps, before.maps)


def test_generation_is_what_transformers_generates(
    lmm: Lmm, prefix: Prefix, image: NDArray[np.uint8]
) -> None:
    question = lmm.text().question("what is there?")
    seen: list[tuple[int, ...]] = []
    with torch.inference_mode():
        ours = lmm.generate(prefix, question.ids, max_new_tokens=8, on_token=seen.append).ids
        ids = [*lmm.text().prefix()[:-1], *[lmm.image_token_id] * 36, *question.ids]
        theirs = lmm.model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=8,
            do_sample=False,
            **lmm.prepare(image),
        )[0, len(ids) :].tolist()
    assert list(ours) == [i for i in theirs if i != 2]
    assert seen == [ours[: i + 1] for i in range(len(ours))]


def test_too_long_a_text_is_refused(lmm: Lmm, prefix: Prefix) -> None:
    with pytest.raises(PromptError, match="at most 256 tokens"):
        lmm.read(prefix, [5] * 300, [(0, 1)])


def test_a_family_that_bypasses_the_recorder_is_named(lmm: Lmm, prefix: Prefix) -> None:
    lmm.model.set_attn_implementation({"text_config": "sdpa"})
    try:
        with pytest.raises(RuntimeError, match="LMM family 'llava': expected attention rows of 3"):
            _read(lmm, prefix)
    finally:
        lmm.model.set_attn_implementation({"text_config": "flmm_rows"})


@pytest.mark.parametrize("size_wh", [(100, 72), (84, 84), (30, 200), (640, 480)])
def test_the_long_side_fits_and_the_view_covers_the_padding(
    lmm: Lmm, size_wh: tuple[int, int]
) -> None:
    width, height = size_wh
    (view,) = lmm.views((height, width))
    x0, y0, x1, y1 = view.box_xyxy_px
    assert x0 <= 0 and y0 <= 0 and x1 >= width - 1e-6 and y1 >= height - 1e-6
    pixels = lmm.prepare(np.zeros((height, width, 3), np.uint8))["pixel_values"]
    assert pixels.shape == (1, 3, 84, 84)
    black = (pixels[0, 0] < -1).float()  # the padding is mean grey
    assert black.mean().item() == pytest.approx(min(size_wh) / max(size_wh), abs=1.01 / 84)


def test_a_model_without_tokenizer_says_so_when_text_comes(
    tiny_model_config: ModelConfig, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model_config.lmm, tmp_path / "lmm")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "lmm" / name).unlink()
    lmm = load_lmm(ModelConfig(name="mute", lmm=str(tmp_path / "lmm"), heads="x"), LoadOptions())
    with pytest.raises(ConfigError, match="expected a tokenizer"):
        lmm.text()


@pytest.mark.parametrize("damage", ["nothing", "no config", "truncated", "one key", "no rule"])
def test_damaged_models_are_refused(
    tiny_model_config: ModelConfig, tmp_path: Path, damage: str
) -> None:
    where = tmp_path / "lmm"
    if damage != "nothing":
        shutil.copytree(tiny_model_config.lmm, where)
    if damage == "no config":
        (where / "config.json").unlink()
    if damage == "truncated":
        weights = (where / "model.safetensors").read_bytes()
        (where / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    if damage == "one key":
        content = json.loads((where / "config.json").read_text())
        content["text_config"]["num_hidden_layers"] = 4
        content["text_config"].pop("layer_types", None)
        (where / "config.json").write_text(json.dumps(content))
    if damage == "no rule":
        (where / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="model 'damaged': expected"):
        load_lmm(ModelConfig(name="damaged", lmm=str(where), heads="x"), LoadOptions())


def test_an_unknown_family_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="got 'lava'; supported: .*llava"):
        load_lmm(ModelConfig(name="m", family="lava", lmm="x", heads="y"), LoadOptions())
