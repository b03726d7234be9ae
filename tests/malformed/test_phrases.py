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

"""Texts of every kind: phrases stand where they say, and commands are read or refused."""

import itertools

from hypothesis import strategies as st
from malformed import inputs, understood

from flmm_ros.engine.answer import Intent
from flmm_ros.engine.language import phrases, references
from flmm_ros.engine.language.intent import checked_command, find_intent

SAID = (
    "the a no two both it them one ones that this left right of in and or not is isn't pick up"
    " point at what which red mug mugs cube gas lens the's you please quickly sitting picture"
    " . , ? ! - ' ’ … \\ \\1 \\g<1> ( [ { * + $ ^ | \x00 \t \n \u202e \ufeff \U0001f980"
    " ß İ ﬁ é 漢字"
)
SENTENCES = st.lists(st.sampled_from(SAID.split(" ")), max_size=14).map(" ".join)
TEXTS = st.one_of(SENTENCES, SENTENCES, st.text(max_size=60))


@inputs("texts", TEXTS, st.lists(TEXTS, max_size=3), st.integers(1, 80))
def test_texts(text, named, max_chars):
    for found in (phrases.find_phrases(text), phrases.command_phrases(text)):
        for phrase in found:
            start, end = phrase.text_span
            assert text[start:end] == phrase.text and phrase.text.strip()
        spans = [phrase.text_span for phrase in found]
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert phrases.is_singular(text) in (True, False)
    assert isinstance(references.refer_back(text, named), str)
    assert isinstance(find_intent(text), Intent)
    command = understood(checked_command, text, max_chars)
    if command is not None:
        assert 0 < len(command) <= max_chars and "  " not in command


def test_a_phrase_with_a_backslash_is_put_in_as_it_is():
    assert references.refer_back("pick it up", [r"the \1 mug"]) == r"pick the \1 mug up"
    assert references.refer_back("take the left one", [r"the \g mug\d"]) == r"take the left mug\d"
