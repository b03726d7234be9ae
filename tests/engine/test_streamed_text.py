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

"""Tokens to text: the same text at any pace, whole letters only, phrases without quotes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tiny_model import word_tokenizer
from tiny_tokenizers import gemma_like, qwen_like
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.lmm.decoding import LONGEST, TextStream, covering, decoded

SAID = 'naïve 日本のマグ 👩‍👩‍👧 e\u0301: "The red mug", and (the blue cube). what is on the left? '


def word_piece_like() -> PreTrainedTokenizerFast:
    """Parts of words lose their mark only behind the part before them."""
    words = ["[UNK]", "the", "q", "##ui", "##ck", "mug", ",", "."]
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


TOKENIZERS = (qwen_like, gemma_like, word_tokenizer, word_piece_like)


def slowly(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> tuple[str, list[tuple[int, int]]]:
    """Text and offsets, with everything decoded anew for every token."""
    raw = tokenizer.decode(ids, skip_special_tokens=True)
    lead, text = len(raw) - len(raw.lstrip()), raw.strip()
    offsets: list[tuple[int, int]] = []
    start = 0
    for n in range(1, len(ids) + 1):
        said = tokenizer.decode(ids[:n], skip_special_tokens=True)
        if not said.endswith("\ufffd"):  # else its letter goes on
            stop = max(start, min(max(len(said) - lead, 0), len(text)))
            offsets += [(start, stop)] * (n - len(offsets))
            start = stop
    return text, offsets


@pytest.mark.parametrize("build", TOKENIZERS)
def test_decoding_a_few_at_a_time_gives_what_decoding_all_gives(
    build: Callable[[], PreTrainedTokenizerFast],
) -> None:
    tokenizer = build()
    said = "the quick mug, the mug. " if build is word_piece_like else SAID
    ids = tokenizer(said * 12, add_special_tokens=False).input_ids
    got = decoded(tokenizer, ids)
    assert (got.text, list(got.offsets)) == slowly(tokenizer, ids)
    stream = TextStream(tokenizer)
    for id_ in ids:
        stream.add(id_)
    assert stream.text == got.text


@pytest.mark.parametrize("build", [qwen_like, gemma_like])
def test_half_a_letter_is_never_shown(build: Callable[[], PreTrainedTokenizerFast]) -> None:
    tokenizer = build()
    text = "a 日本 👍 mug"
    stream, shown = TextStream(tokenizer), []
    for id_ in tokenizer(text, add_special_tokens=False).input_ids:
        stream.add(id_)
        shown.append(stream.text)
    assert not any("\ufffd" in each for each in shown)
    assert all(text.startswith(each) for each in shown)
    assert {"a", "a 日", "a 日本", "a 日本 👍", text} <= set(shown)


@pytest.mark.parametrize("build", TOKENIZERS)
def test_a_token_costs_the_same_however_long_the_answer_is(
    build: Callable[[], PreTrainedTokenizerFast], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, decode = build(), PreTrainedTokenizerFast.decode
    lengths: list[int] = []

    def counted(self: PreTrainedTokenizerFast, ids: list[int], **options: bool) -> str:
        lengths.append(len(ids))
        return str(decode(self, ids, **options))

    monkeypatch.setattr(PreTrainedTokenizerFast, "decode", counted)
    said = "the quick mug, the mug. " if build is word_piece_like else SAID
    ids = tokenizer(said * 40, add_special_tokens=False).input_ids
    stream = TextStream(tokenizer)
    for id_ in ids:
        stream.add(id_)
    assert max(lengths) <= LONGEST
    assert sum(lengths) < 40 * len(ids)


def test_all_tokens_of_a_letter_have_its_place() -> None:
    tokenizer = qwen_like()
    ids = tokenizer("a 日 mug", add_special_tokens=False).input_ids
    answer = decoded(tokenizer, ids)
    start, stop = answer.token_span((2, 3))
    assert tokenizer.decode(ids[start:stop]).strip() == "日" and stop - start >= 3


def test_letters_that_never_end_do_not_stop_the_stream() -> None:
    tokenizer = qwen_like()
    half = tokenizer("日", add_special_tokens=False).input_ids[0]
    stream = TextStream(tokenizer)
    for _ in range(300):
        stream.add(half)
    assert stream.text == ""
    for id_ in tokenizer(" mug", add_special_tokens=False).input_ids:
        stream.add(id_)
    assert stream.text == "mug"


def test_a_phrase_behind_an_opening_quote_is_cut_exactly() -> None:
    """As Qwen's tokenizer, one token holds the quote and the first word."""
    tokenizer = qwen_like()
    said = 'it says "The mug" here'
    encoded = tokenizer(said, add_special_tokens=False)
    answer = decoded(tokenizer, encoded.input_ids)
    pieces = [answer.text[a:b] for a, b in answer.offsets]
    assert '"The' in pieces
    start = said.index("The mug")
    span = answer.token_span((start, start + len("The mug")))
    assert "".join(pieces[slice(*span)]) == '"The mug'
    text_span = answer.text_span(span)
    assert answer.text[slice(*text_span)] == "The mug"
    whole = (0, len(pieces))
    assert answer.text[slice(*answer.text_span(whole))] == 'it says "The mug" here'


@pytest.mark.parametrize(
    ("said", "phrase"),
    [
        ("“The mug”", "The mug"),
        ("(the mug),", "the mug"),
        ("  the mug.\n", "the mug"),
        ("«la tasse» !", "la tasse"),
        ("the dog's mug", "the dog's mug"),
        ("the #3 mug", "the #3 mug"),
        (' "?" ', ""),
    ],
)
def test_text_of_tokens_begins_and_ends_with_a_letter(said: str, phrase: str) -> None:
    tokenizer = qwen_like()
    answer = decoded(tokenizer, tokenizer(f"x{said}", add_special_tokens=False).input_ids)
    first = next(i for i, (_, stop) in enumerate(answer.offsets) if stop > 1)
    text_span = answer.text_span((first, len(answer.offsets)))
    found = answer.text[slice(*text_span)]
    assert found.removeprefix("x") == phrase


def test_tokens_that_share_only_a_blank_with_a_phrase_are_not_its() -> None:
    offsets = [(0, 3), (3, 7), (7, 10), (10, 14)]
    text = "the red is big"
    assert covering(text, offsets, (3, 8)) == (1, 2)  # " red ": not the token of " is"
    assert covering(text, offsets, (4, 7)) == (1, 2)
    with pytest.raises(PromptError, match="got no token there"):
        covering(text, offsets, (20, 22))
