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

"""The texts of the embedded model, by value: answers are true, phrases stand where they are
said."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from flmm_ros.engine.config import ModelConfig, find_model
from flmm_ros.engine.heads.phrase_selector import PhraseSelector
from flmm_ros.engine.lmm.tokens import PromptTokens, Turn
from flmm_sim.tabletop.tabletop import COLORS, SceneObject
from training.embedded.language import language, references, statements
from training.embedded.language.neighbours import SIDES
from training.embedded.language.samples import Mention
from training.embedded.language.spelling import made_up, misspelt
from training.embedded.language.tokenizer import build_tokenizer, pieces, words_known
from training.embedded.language.turns import TurnPacker
from training.embedded.language.vocabulary import (
    PLURALS,
    STRANGE,
    STRANGE_COLORS,
    SYNONYMS,
    UNTRAINED_WORDS,
)
from training.embedded.stages import readings
from training.embedded.stages.heads import targets_of
from training.embedded.stages.lmm import build_lmm, forward, mirrored
from training.embedded.stages.phrase_selector import TokenSet, labels_of, measure, train_selector
from training.embedded.stages.readings import PHRASES_ALONE, turns_of
from training.embedded.stages.scenes import SceneSet
from training.embedded.stages.vision_encoder import token_labels

_DEFAULTS = ModelConfig(name="x", lmm="x", heads="x")
TEMPLATE, NEXT_TURN = _DEFAULTS.template, _DEFAULTS.next_turn
TOKENIZER = build_tokenizer()
OBJECTS = (
    SceneObject("mug", "red", 1, (0, 0, 0), (40.0, 200.0), 500),
    SceneObject("ball", "blue", 2, (0, 0, 0), (160.0, 120.0), 500),
    SceneObject("mug", "orange", 3, (0, 0, 0), (290.0, 40.0), 500),
)


@pytest.fixture(autouse=True)
def _well_spelt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What phrases mean is worked out from their words: no slips here; they have tests of their
    own."""
    monkeypatch.setattr(statements, "TYPOS_READ", 0.0)
    monkeypatch.setattr(readings, "TYPOS_READ", 0.0)


def samples(kind: str, count: int = 60) -> Iterator[language.TextSample]:
    rng = np.random.default_rng(5)
    for _ in range(count):
        sample = language.MAKERS[kind][0](OBJECTS, rng)
        if sample is not None:
            yield sample


def test_description_goes_from_left_to_right() -> None:
    found = language.describe(OBJECTS, np.random.default_rng(0))
    assert found.answer == "a red mug, a blue ball and an orange mug."
    assert [found.answer[a:b] for a, b in (m.text_span for m in found.mentions)] == [
        "a red mug",
        "a blue ball",
        "an orange mug",
    ]
    assert [m.labels for m in found.mentions] == [(1,), (2,), (3,)]


def test_questions_have_true_answers() -> None:
    for sample in samples("place"):
        leftmost = any(w in sample.prompt for w in ("the left", "far left", "leftmost"))
        nearest = any(w in sample.prompt for w in ("nearest", "closest", "in front"))
        wanted = "the red mug." if leftmost or nearest else "the orange mug."
        assert sample.answer == wanted, sample.prompt
    for sample in samples("color"):  # only the ball is alone of its kind
        assert sample.answer == "the ball is blue."
    for sample in samples("use"):
        if "drink" in sample.prompt:
            assert sample.answer == "the red mug and the orange mug."
        if "carrot" in sample.prompt:
            assert sample.answer == language.NOTHING
    for sample in samples("yes_no"):
        if language.NOTHING in sample.answer:  # a strange thing
            assert not any(o.name in sample.prompt for o in OBJECTS)
        names_one = any(o.name in sample.answer for o in OBJECTS)
        assert sample.answer.startswith("yes" if names_one else "no")
    for sample in samples("relation"):
        assert sample.answer.startswith(("yes, ", "no, "))
        said = sample.prompt.split(" mug ")[-1] if "mug" in sample.prompt[:14] else sample.prompt
        first = next(o for o in OBJECTS if sample.prompt.startswith(f"is the {o.name}"))
        second = next(o for o in OBJECTS if o is not first and o.name in said)
        is_left = first.center_px[0] < second.center_px[0]
        if "left of" in sample.answer or "right of" in sample.answer:
            assert ("left of" in sample.answer) == is_left
            agrees = ("left of" in sample.prompt) == is_left
            assert sample.answer.startswith("yes" if agrees else "no")


PLACES = {
    "leftmost": (0, -1), "on the left": (0, -1), "rightmost": (0, 1), "on the right": (0, 1),
    "nearest": (1, 1), "closest": (1, 1), "in front": (1, 1), "farthest": (1, -1),
    "at the back": (1, -1),
}  # fmt: skip


def meant(phrase: str) -> set[int]:
    """Labels of the objects a phrase fits, worked out from its words alone."""
    head, side, anchor = phrase, "", ""
    for side_words in SIDES:
        if side_words in phrase:
            head, anchor = phrase.split(side_words)
            side = side_words
    words = head.split()
    if set(words) & set(STRANGE_COLORS):
        return set()
    fitting = {
        o.label
        for o in OBJECTS
        if all(color not in words or color == o.color for color in COLORS)
        and (
            {"thing", "things", "object", "objects", "one"} & set(words)
            or {o.kind, PLURALS[o.kind], *SYNONYMS[o.kind]} & set(words)
        )
    }
    if side:
        (at,) = (o.center_px for o in OBJECTS if o.label in meant(anchor))
        axis, sign = SIDES[side]
        fitting = {
            o.label
            for o in OBJECTS
            if o.label in fitting and sign * (o.center_px[axis] - at[axis]) > 0
        }
    for place, (axis, sign) in PLACES.items():
        if not side and place in phrase:
            best = max(
                (o for o in OBJECTS if o.label in fitting), key=lambda o: sign * o.center_px[axis]
            )
            fitting = {best.label}
    return fitting


@pytest.mark.parametrize("kind", list(language.MAKERS))
def test_every_mention_is_a_phrase_of_the_objects_it_names(kind: str) -> None:
    for sample in samples(kind):
        for mention in sample.mentions:
            fitting = meant(sample.answer[slice(*mention.text_span)])
            assert set(mention.labels) <= fitting, sample
            if kind == "statement":  # what is read to be pointed at means all that fit
                assert set(mention.labels) == fitting, sample


def test_a_kind_alone_means_all_of_it() -> None:
    rng = np.random.default_rng(4)
    found = {references.several(OBJECTS, rng) for _ in range(200)}
    assert ("the mug", (1, 3)) in found and ("all the mugs", (1, 3)) in found
    assert ("the ball", (2,)) not in found  # one thing is not several
    assert ("the balls", (2,)) in found and ("the red things", (1,)) in found


def test_absent_phrases_name_nothing_that_is_there() -> None:
    rng = np.random.default_rng(6)
    found = dict(references.reference(OBJECTS, rng, absent=1.0) for _ in range(300))
    absent = [words for words, labels in found.items() if not labels]
    assert absent and all(meant(words) == set() for words in absent)
    assert {"the cube", "the duck"} < set(absent)  # kinds alone, too


def test_phrases_are_read_alone_and_in_answers() -> None:
    turns = turns_of(OBJECTS, np.random.default_rng(2))
    alone = [turn for turn in turns if turn.kind == "phrase"]
    assert len(alone) == PHRASES_ALONE
    for turn in alone:  # as the engine reads one phrase: nothing before, nothing after it
        assert turn.prompt == statements.DESCRIBE
        assert [m.text_span for m in turn.mentions] == [(0, len(turn.answer))]
        assert set(turn.mentions[0].labels) == meant(turn.answer)
    assert all(any(m.labels for m in turn.mentions) for turn in turns if turn not in alone)


def test_targets_are_all_the_objects_a_phrase_means() -> None:
    labels = np.array([[[0, 1, 2], [3, 3, 1]]], np.uint8)
    scenes = SceneSet(np.zeros((1, 2, 3, 3), np.uint8), labels, (OBJECTS,))
    wanted = torch.tensor([0b101, 0b010, 0], dtype=torch.int32)  # both mugs, the ball, nothing
    masks = targets_of(scenes, torch.zeros(3, dtype=torch.long), wanted)
    assert masks[0].tolist() == [[0, 1, 0], [1, 1, 1]]
    assert masks[1].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert masks[2].sum() == 0


def test_a_conversation_is_packed_as_the_engine_asks_it() -> None:
    tokenizer = TOKENIZER
    packer = TurnPacker(tokenizer, 1)
    rng = np.random.default_rng(8)
    sample = next(s for s in (language.dialogue(OBJECTS, rng) for _ in range(50)) if s)
    engine = PromptTokens(
        tokenizer, TEMPLATE, tokenizer.convert_tokens_to_ids("<image>"), NEXT_TURN
    )
    history = [Turn(turn.prompt, turn.answer) for turn in sample.before]
    assert sample.before
    assert engine.question(sample.prompt, history).ids == tuple(packer.lead_ids(sample))
    _ids, targets = packer.turn(sample)
    learned = [t for t in targets if t >= 0]  # every answer of it, each with its end
    said = [
        [*tokenizer(t.answer).input_ids[1:], tokenizer.eos_token_id]
        for t in (*sample.before, sample)
    ]
    assert learned == [id_ for answer in said for id_ in answer]


def test_tokens_to_select_by_value() -> None:
    packer = TurnPacker(TOKENIZER, 4)
    mentions = (Mention((5, 14), (1,)), Mention((19, 27), ()))
    sample = language.TextSample("x", "what?", "yes, a red mug and no ducks.", (), mentions)
    #        yes    ,      a     red   mug   and    no     ducks  .
    wanted = [False, False, True, True, True, False, False, False, False]
    assert labels_of(packer, sample) == wanted


def test_a_selector_learns_a_planted_direction() -> None:
    rng = torch.Generator().manual_seed(0)
    names = torch.rand(4000, generator=rng) < 0.5
    states = 0.1 * torch.randn(4000, 2, 8, generator=rng)
    states[:, 1, 3] += 10 * (names.float() - 0.5)
    data = TokenSet(states.half(), names, (10,) * 400)
    selector = PhraseSelector(2, 8)
    before = measure(selector, data)["phrase_F1"]
    found = train_selector(selector, data, data, steps=300, seed=0)
    assert before < 0.5
    assert found["token_F1"] > 0.97 and found["phrase_F1"] > 0.9


def test_given_names_are_not_learned() -> None:
    tokenizer = TOKENIZER
    packer = TurnPacker(tokenizer, 4)
    sample = language.TextSample("x", "what?", "the duck not here.", given=((0, 8),))
    ids, targets = packer.turn(sample)
    learned = tokenizer.convert_ids_to_tokens([t for t in targets if t >= 0])
    assert learned == ["not", "here", ".", "</s>"]
    assert len(ids) == len(targets)


def test_the_vocabulary_covers_the_texts_and_nothing_absurd() -> None:
    tokenizer = TOKENIZER
    rng = np.random.default_rng(3)
    for _ in range(300):
        sample = language.draw(OBJECTS, rng)
        ids = tokenizer(f"{sample.prompt} {sample.answer}").input_ids
        assert tokenizer.unk_token_id not in ids, sample
    assert tokenizer.unk_token_id in tokenizer("the \u0437\u0435\u0431\u0440\u0430").input_ids


def test_known_words_are_whole_and_others_are_spelt() -> None:
    assert TOKENIZER.tokenize("The red bunnies, please!") == [
        "the",
        "red",
        "bunnies",
        ",",
        "please",
        "!",
    ]
    spelt = TOKENIZER.tokenize("zebra")
    assert len(spelt) > 1 and "".join(piece.removeprefix("##") for piece in spelt) == "zebra"
    assert (
        TOKENIZER.decode(TOKENIZER("caf\u00e9 zebra", add_special_tokens=False).input_ids)
        == "cafe zebra"
    )
    known = set(words_known())
    assert known.isdisjoint({*UNTRAINED_WORDS, "banana", "seee", "thee"})
    assert {"red", "plank", "biggest", "eight", "coffee"} <= known
    assert len(pieces()) == len(set(pieces())) > 200


def test_the_embedded_model_has_the_tokenizer_that_is_made_here() -> None:
    stored = AutoTokenizer.from_pretrained(find_model("tabletop").lmm)
    assert stored.get_vocab() == TOKENIZER.get_vocab()


def test_unheard_words_are_in_no_text() -> None:
    assert set(UNTRAINED_WORDS).isdisjoint(STRANGE)
    rng = np.random.default_rng(3)
    said = " ".join(
        f"{s.prompt} {s.answer}" for s in (language.draw(OBJECTS, rng) for _ in range(3000))
    )
    assert not set(UNTRAINED_WORDS) & set(said.replace("?", " ").replace(".", " ").split())
    assert len([word for word in STRANGE if f" {word}" in said]) > 50


def test_a_slip_changes_one_word_by_one_letter() -> None:
    rng = np.random.default_rng(0)
    assert misspelt("the red mug", rng, 0.0) == "the red mug"
    found = {misspelt("the red cylinder", rng, 1.0) for _ in range(400)}
    for text in found:
        before, after = ["the", "red", "cylinder"], text.split()
        changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert len(changed) <= 1  # a letter may be swapped for itself
        assert all(abs(len(a) - len(b)) <= 1 and a[0] == b[0] for a, b in changed)
    assert {"the red cyliinder", "the redd cylinder"} <= found
    assert all(word.isalpha() and len(word) > 1 for word in (made_up(rng) for _ in range(200)))


def test_strange_things_are_answered_not_named() -> None:
    asked = [s for s in samples("command", 400) if s.answer == language.NOTHING]
    assert asked and all(s.mentions == () for s in asked)
    for sample in samples("command"):
        assert sample.answer.startswith(("the ", "there is no"))
        assert any(o.name in sample.answer for o in OBJECTS) == sample.answer.startswith("the ")


def test_packed_turns_read_as_if_alone() -> None:
    tokenizer = TOKENIZER
    packer = TurnPacker(tokenizer, 256)
    model = build_lmm(tokenizer, 0).eval()
    rng = np.random.default_rng(1)
    first, second = (language.draw(OBJECTS, rng) for _ in range(2))
    features = torch.randn(1, 256, 128)
    with torch.no_grad():
        both = forward(model, packer.pack([[first, second]]), features)
        alone = forward(model, packer.pack([[second]]), features)
    length = len(packer.turn(second)[0])
    assert torch.allclose(both[0, -length:], alone[0, -length:], atol=1e-5)


def test_a_mirror_swaps_left_and_right() -> None:
    seen = mirrored(OBJECTS)
    assert [o.center_px[0] for o in seen] == [279.0, 159.0, 29.0]
    assert language.describe(seen, np.random.default_rng(0)).answer.startswith("an orange mug")


def test_token_labels_lie_where_the_padded_image_lies() -> None:
    labels = np.zeros((240, 320), np.uint8)
    labels[:, :20] = 1  # leftmost patch column of the image: 20 px are 16 in the 256 px square
    kinds, colors = token_labels(labels, OBJECTS, 256, 16)
    grid = kinds.reshape(16, 16)
    assert (grid[2:14, 0] == 4).all()  # mug is the fourth kind
    assert (grid[:2] == 0).all() and (grid[14:] == 0).all()  # padding above and below
    assert (grid[:, 1:] == 0).all()
    assert set(np.unique(colors)) == {0, 1}
