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

"""The embedded model's tokenizer: words the tabletop speaks of are one token, all others are made
of pieces.

WordPiece, lower case, accents taken off. A word it was never told ("zebra") is spelt in pieces of
one to three letters, so that every word of a Latin alphabet can be read, slips of the finger too;
only other scripts are unknown to it.
"""

from __future__ import annotations

import string
from collections import Counter

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from flmm_sim.tabletop.tabletop import ALL_KINDS, COLORS, SceneObject
from training.embedded.language.language import (
    COMMANDS,
    DESCRIPTIONS,
    NOTHING,
    USE_QUESTIONS,
    draw,
)
from training.embedded.language.statements import DESCRIBE
from training.embedded.language.superlatives import SUPERLATIVES
from training.embedded.language.vocabulary import (
    NUMBERS,
    PLURALS,
    STRANGE,
    STRANGE_COLORS,
    STRANGE_USES,
    SYNONYMS,
    USES,
)

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
CONTINUED = "##"  # a piece that goes on with a word
PIECES = 160  # of two and three letters, at the beginning of words and as many within
_DRAWS, _OFTEN = 6000, 20


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, the same every time."""
    letters = [*string.ascii_lowercase, *string.digits]
    tokens = [
        *SPECIAL,
        "user",
        "assistant",
        *string.punctuation,
        *letters,
        *(CONTINUED + letter for letter in letters),
    ]
    tokens += [*words_known(), *pieces()]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token="<unk>", continuing_subword_prefix=CONTINUED)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=True, lowercase=True
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUED, cleanup=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def words_known() -> list[str]:
    """Words that are one token: those of the texts themselves, not the strange ones in them."""
    fixed = [*COLORS, *ALL_KINDS, *PLURALS.values(), *NUMBERS, DESCRIBE, *DESCRIPTIONS, NOTHING]
    fixed += [*USE_QUESTIONS, *COMMANDS, *SUPERLATIVES]
    fixed += [words for both in (USES, SYNONYMS) for some in both.values() for words in some]
    known = {word for text in fixed for word in _words(text)}
    rng = np.random.default_rng(0)
    counts: Counter[str] = Counter()
    for _ in range(_DRAWS):
        sample = draw(_some_objects(rng), rng)
        for turn in (*sample.before, sample):
            counts.update({*_words(turn.prompt), *_words(turn.answer)})
    strange = {
        word
        for text in (*STRANGE, *STRANGE_USES, *STRANGE_COLORS)
        for word in (*_words(text), *_words(f"{text}s"))
    }
    # Slips and made-up words are rare, each by itself.
    known.update(word for word, n in counts.items() if n >= _OFTEN and word not in strange)
    return sorted(known)


def pieces() -> list[str]:
    """The most frequent pairs and triples of letters in words that are none of ours."""
    begin: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for text in STRANGE:
        for word in _words(text):
            for size in (2, 3):
                begin[word[:size]] += 1
                within.update(word[at : at + size] for at in range(1, len(word) - size + 1))
    return [*_most(begin), *(CONTINUED + piece for piece in _most(within))]


def _most(counts: Counter[str]) -> list[str]:
    ordered = sorted(counts, key=lambda piece: (-counts[piece], piece))
    return [piece for piece in ordered if len(piece) > 1][:PIECES]


def _words(text: str) -> list[str]:
    letters = (c if c.isalpha() else " " for c in text.lower())
    return "".join(letters).split()


def _some_objects(rng: np.random.Generator) -> tuple[SceneObject, ...]:
    """A scene that is never drawn."""
    count = int(rng.integers(2, 11))
    pairs = rng.choice(len(ALL_KINDS) * len(COLORS), count, replace=False)
    return tuple(
        SceneObject(
            kind=ALL_KINDS[int(pair) % len(ALL_KINDS)],
            color=list(COLORS)[int(pair) // len(ALL_KINDS)],
            label=n + 1,
            position_m=(0.0, 0.0, 0.0),
            center_px=(float(rng.uniform(0, 320)), float(rng.uniform(0, 240))),
            visible_px=int(rng.integers(100, 2000)),
        )
        for n, pair in enumerate(pairs)
    )
