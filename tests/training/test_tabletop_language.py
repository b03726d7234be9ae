"""The texts of the embedded model, by value: answers are true, phrases stand where they are
said."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from flmm_ros.tools.tabletop import SceneObject
from training.tabletop import language
from training.tabletop.heads import ground_sample
from training.tabletop.lmm import build_lmm, forward, mirrored
from training.tabletop.tower import token_labels
from training.tabletop.turns import TurnPacker, build_tokenizer

OBJECTS = (
    SceneObject("mug", "red", 1, (0, 0, 0), (40.0, 200.0), 500),
    SceneObject("ball", "blue", 2, (0, 0, 0), (160.0, 120.0), 500),
    SceneObject("mug", "orange", 3, (0, 0, 0), (290.0, 40.0), 500),
)


def samples(kind: str, count: int = 60) -> Iterator[language.Sample]:
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
        leftmost = any(w in sample.prompt for w in ("on the left", "far left", "leftmost"))
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


@pytest.mark.parametrize("kind", list(language.MAKERS))
def test_every_mention_is_a_phrase_of_the_object_it_names(kind: str) -> None:
    for sample in samples(kind):
        for mention in sample.mentions:
            words = sample.answer[slice(*mention.text_span)].split()
            for label in mention.labels:
                o = next(o for o in OBJECTS if o.label == label)
                kinds = (o.kind, *language.SYNONYMS[o.kind])
                assert o.color in words or any(k in words for k in kinds)


def test_given_names_are_not_learned() -> None:
    tokenizer = build_tokenizer()
    packer = TurnPacker(tokenizer, 4)
    sample = language.Sample("x", "what?", "the duck not here.", given=((0, 8),))
    ids, targets = packer.turn(sample)
    learned = tokenizer.convert_ids_to_tokens([t for t in targets if t >= 0])
    assert learned == ["not", "here", ".", "</s>"]
    assert len(ids) == len(targets)


def test_the_vocabulary_covers_the_texts_and_nothing_absurd() -> None:
    tokenizer = build_tokenizer()
    rng = np.random.default_rng(3)
    for _ in range(300):
        sample = language.draw(OBJECTS, rng)
        ids = tokenizer(f"{sample.prompt} {sample.answer}").input_ids
        assert tokenizer.unk_token_id not in ids, sample
    assert tokenizer.unk_token_id in tokenizer("the zebra").input_ids


def test_packed_turns_read_as_if_alone() -> None:
    tokenizer = build_tokenizer()
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


def test_phrases_to_ground_are_joined_as_the_engine_joins_them() -> None:
    sample = ground_sample(OBJECTS, np.random.default_rng(2))
    spans = [m.text_span for m in sample.mentions]
    pieces = [sample.answer[a:b] for a, b in spans]
    assert sample.answer == ". ".join(pieces) + "."


def test_token_labels_lie_where_the_padded_image_lies() -> None:
    labels = np.zeros((240, 320), np.uint8)
    labels[:, :20] = 1  # leftmost patch column of the image: 20 px are 16 in the 256 px square
    kinds, colors = token_labels(labels, OBJECTS, 256, 16)
    grid = kinds.reshape(16, 16)
    assert (grid[2:14, 0] == 4).all()  # mug is the fourth kind
    assert (grid[:2] == 0).all() and (grid[14:] == 0).all()  # padding above and below
    assert (grid[:, 1:] == 0).all()
    assert set(np.unique(colors)) == {0, 1}
