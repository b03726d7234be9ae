"""How well a model answers and points on tabletop scenes it never saw, through the engine's facade.

Three examinations a scene: every object by "the <colour> <kind>" together with as many absent
phrases (masks, presence, calibration), one question of every kind (exact answer), and, counted
apart, a comparison of two places and a description.
Does not know about: how the model was trained.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from rich.progress import track

from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.scene import Scene
from flmm_ros.engine.types import Intent
from flmm_ros.tools.tabletop import COLORS, KINDS, Tabletop, TabletopScene
from training.metrics import MaskMetrics, absence_f1, calibration_error
from training.tabletop.language import FURTHER_KINDS, MAKERS, QUESTION_KINDS
from training.tabletop.samples import Sample

EXAMINED = (*QUESTION_KINDS, *FURTHER_KINDS)


@dataclass
class Examination:
    """Everything noted while scenes are examined."""

    masks: MaskMetrics = field(default_factory=MaskMetrics)
    attention_points: list[bool] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    said_absent: list[bool] = field(default_factory=list)
    is_absent: list[bool] = field(default_factory=list)
    answers: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    mistakes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """All metrics as plain numbers."""
        kinds = {k: float(np.mean(v)) for k, v in sorted(self.answers.items())}
        questions = [r for k in QUESTION_KINDS for r in self.answers.get(k, [])]
        return {
            "masks": self.masks.summary(),
            "attention_on_object": _share(self.attention_points),
            "answers": {
                "questions": _share(questions),
                "by_kind": kinds,
                "n": len(questions),
            },
            "absent": absence_f1(self.said_absent, self.is_absent),
            "calibration_error": calibration_error(self.scores, self.right),
        }


def _share(right: list[bool]) -> float:
    return float(np.mean(right)) if right else 0.0


def examine(grounder: Grounder, first: int, stop: int, *, with_answers: bool = True) -> Examination:
    """Examines the scenes of seeds first..stop-1."""
    notes = Examination()
    with Tabletop() as table:
        for seed in track(range(first, stop), description="scenes"):
            truth = table.render(seed)
            scene = grounder.open(truth.rgb)
            _examine_phrases(notes, scene, truth)
            if with_answers:
                _examine_answers(notes, scene, truth)
    return notes


def absent_names(truth: TabletopScene, count: int, rng: np.random.Generator) -> list[str]:
    """Names of things that are not in the scene; most share a colour or a kind with one that is."""
    there = {o.name for o in truth.objects}
    names: list[str] = []
    while len(names) < count:
        o, choice = truth.objects[rng.integers(len(truth.objects))], rng.random()
        color = o.color if choice < 0.4 else str(rng.choice(list(COLORS)))
        kind = o.kind if 0.4 <= choice < 0.8 else str(rng.choice(list(KINDS)))
        if f"{color} {kind}" not in there | set(names):
            names.append(f"{color} {kind}")
    return names


def _examine_phrases(notes: Examination, scene: Scene, truth: TabletopScene) -> None:
    rng = np.random.default_rng([truth.seed, 1])
    names = [o.name for o in truth.objects]
    names += absent_names(truth, len(names), rng)
    rng.shuffle(names)
    # four at a time: a robot's sentence does not name a dozen things
    for start in range(0, len(names), 4):
        group = names[start : start + 4]
        for name, found in zip(group, scene.ground([f"the {n}" for n in group]), strict=True):
            obj = truth.find(name)
            notes.is_absent.append(obj is None)
            notes.said_absent.append(not found.is_present)
            notes.scores.append(found.score)
            if obj is None:
                notes.right.append(False)
                continue
            mask = truth.mask(obj)
            notes.right.append(notes.masks.add(found.mask, mask) > 0.5)
            notes.attention_points.append(bool(mask.flat[int(found.heat.argmax())]))


def _examine_answers(notes: Examination, scene: Scene, truth: TabletopScene) -> None:
    rng = np.random.default_rng([truth.seed, 2])
    for kind in EXAMINED:
        sample = _ask(kind, truth, rng)
        if sample is None:
            continue
        answer = scene.ask(sample.prompt, intent=Intent.ANSWER)
        right = _plain(answer.text) == _plain(sample.answer)
        notes.answers[kind].append(right)
        if not right:
            notes.mistakes.append(
                f"{truth.seed} {sample.prompt!r}: {answer.text!r}, not {sample.answer!r}"
            )


def _ask(kind: str, truth: TabletopScene, rng: np.random.Generator) -> Sample | None:
    for _ in range(20):
        sample = MAKERS[kind][0](truth.objects, rng)
        if sample is not None:
            return sample
    return None


def _plain(text: str) -> str:
    """Words only: spacing, case and the final stop do not make an answer wrong."""
    for mark in ".,?":
        text = text.replace(mark, " ")
    return " ".join(text.lower().split())
