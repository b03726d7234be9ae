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

"""How well a model speaks about tabletop scenes: answers, conversations, which words name things.

One question of every kind and a description (exact answer), one conversation in which later turns
depend on earlier ones, and the phrases of true answers as the phrase selector and the grammar rules
find them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from flmm_ros.engine.answer import Answer, Intent
from flmm_ros.engine.errors import UnknownWordError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.phrase_selector import selected_spans
from flmm_ros.engine.language.phrases import find_phrases
from flmm_ros.engine.lmm.tokens import Span
from flmm_ros.engine.scene import Scene
from flmm_sim.tabletop.tabletop import TabletopScene
from training.embedded.evaluation.results import TabletopResults
from training.embedded.language.language import FURTHER_KINDS, MAKERS, QUESTION_KINDS
from training.embedded.language.samples import Objects, TextSample

# Kinds of question that stand for themselves.
ALONE = tuple(kind for kind in (*QUESTION_KINDS, *FURTHER_KINDS) if kind != "dialogue")


def evaluate_answers(notes: TabletopResults, scene: Scene, truth: TabletopScene) -> None:
    """One question of every kind."""
    rng = np.random.default_rng([truth.seed, 2])
    for kind in ALONE:
        sample = _drawn(kind, truth.objects, rng)
        if sample is None:
            continue
        said = _said(scene.ask, sample.prompt)
        notes.answers[kind].append(_is_right(notes, truth.seed, sample, said))


def evaluate_conversation(notes: TabletopResults, scene: Scene, truth: TabletopScene) -> None:
    """A conversation of two or three turns, with the model's own earlier answers behind it."""
    sample = _drawn("dialogue", truth.objects, np.random.default_rng([truth.seed, 3]))
    if sample is None:
        return
    chat = scene.chat()
    turns = (*sample.before, sample)
    right = [_is_right(notes, truth.seed, t, _said(chat.say, t.prompt)) for t in turns]
    notes.conversations.append(right[1:])  # what the first asks is evaluated above


def evaluate_phrase_finding(
    notes: TabletopResults, grounder: Grounder, truth: TabletopScene
) -> None:
    """The names in one true answer of every kind, as tokens: by rules, and by the phrase selector
    where the heads have one."""
    rng = np.random.default_rng([truth.seed, 4])
    with torch.inference_mode():
        prefix = grounder.lmm.encode(truth.rgb)
        for kind in ALONE:
            sample = _drawn(kind, truth.objects, rng)
            if sample is None:
                continue
            whole = (0, len(sample.answer))
            suffix = grounder.lmm.text().reading(sample.prompt, sample.answer, [whole])
            read = grounder.lmm.read(prefix, suffix.ids, suffix.spans)
            answer = grounder.lmm.text().decode(suffix.ids[slice(*suffix.spans[0])])
            if answer.text != sample.answer:
                raise ValueError(f"expected {sample.answer!r} in tokens and back, got {answer!r}")
            true = [answer.token_span(span) for span in true_names(sample)]
            by_rule = [answer.token_span(phrase.text_span) for phrase in find_phrases(answer.text)]
            notes.rules.add(by_rule, true)
            probabilities = grounder.heads.groundable(read.states[0])
            if probabilities is not None:
                notes.selector.add(selected_spans(probabilities), true)


def true_names(sample: TextSample) -> list[Span]:
    """Characters of the answer that name things of the scene, not things that are missing."""
    return [mention.text_span for mention in sample.mentions if mention.labels]


def plain(text: str) -> str:
    """Words only: spacing, case and the final stop do not make an answer wrong."""
    for mark in ".,?":
        text = text.replace(mark, " ")
    return " ".join(text.lower().split())


def _said(ask: Callable[[str, Intent], Answer], prompt: str) -> str:
    """The answer; where the model does not know a word of the question, its refusal."""
    try:
        return ask(prompt, Intent.ANSWER).text
    except UnknownWordError as error:
        return f"(refused: {error})"


def _is_right(notes: TabletopResults, seed: int, sample: TextSample, said: str) -> bool:
    right = plain(said) == plain(sample.answer)
    if not right:
        asked: Sequence[str] = [turn.prompt for turn in (*sample.before, sample)]
        notes.mistakes.append(f"{seed} {' / '.join(asked)!r}: {said!r}, not {sample.answer!r}")
    return right


def _drawn(kind: str, objects: Objects, rng: np.random.Generator) -> TextSample | None:
    for _ in range(20):
        sample = MAKERS[kind][0](objects, rng)
        if sample is not None:
            return sample
    return None
