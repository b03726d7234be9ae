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

"""The page of a tabletop evaluation: the same cards as for published data, with simulated scenes.

A scene becomes a sample as a data set's would be: its things by name and by place ("the mug left of
the blue cube"), and things that are not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from flmm_ros.engine.grounder import Grounder
from flmm_sim.tabletop.tabletop import Tabletop, TabletopScene
from training.data.rle import Rle
from training.data.sample import GroundingSample, PhraseTruth, joined
from training.embedded.evaluation.tabletop import absent_names
from training.embedded.language.neighbours import related_phrase
from training.evaluation.cases import Case
from training.evaluation.measuring import SampleReader, cases_of
from training.evaluation.pages.page import ShownCase, choose, render_page
from training.evaluation.pages.tables import ScoreTable

SCENES = 60  # at most: enough to find the worst, and a page is no measurement
ABSENT = 2


def sample_of(truth: TabletopScene) -> GroundingSample:
    """Phrases of a scene and their pixels; the same for the same seed."""
    rng = np.random.default_rng([truth.seed, 12])
    named = [(f"the {o.name}", truth.mask(o)) for o in truth.objects]
    related = related_phrase(truth.objects, rng)
    if related is not None:
        words, labels = related
        named.append((words, np.isin(truth.labels, labels)))
    there = len(named)
    nothing = np.zeros(truth.labels.shape, bool)
    named += [(f"the {name}", nothing) for name in absent_names(truth, ABSENT, rng)]
    text, spans = joined([words for words, _ in named])
    return GroundingSample(
        key=f"scene {truth.seed}",
        image_path=Path(f"{truth.seed}.png"),  # rendered where it is needed, never written
        size_hw=(truth.labels.shape[0], truth.labels.shape[1]),
        text=text,
        phrases=tuple(
            PhraseTruth(span, Rle.encode(mask), is_absent=number >= there)
            for number, (span, (_, mask)) in enumerate(zip(spans, named, strict=True))
        ),
    )


@dataclass(frozen=True)
class SceneRange:
    """Scenes of seeds first..stop-1, plain or crowded."""

    first: int
    stop: int
    is_crowded: bool = False

    def render(self, world: Tabletop, seed: int) -> TabletopScene:
        """One of them."""
        return world.render_crowd(seed) if self.is_crowded else world.render(seed)


def write_scene_page(
    grounder: Grounder, scenes: SceneRange, rows: Mapping[str, str], folder: Path, shown: int
) -> None:
    """Writes evaluation.md and index.html: the numbers `rows`, and the worst, random and best
    phrases of the first scenes."""
    reader = SampleReader(grounder, "apart")
    some = range(scenes.first, min(scenes.stop, scenes.first + SCENES))
    crowded = "Crowded tabletop" if scenes.is_crowded else "Tabletop"
    title = f"{crowded} scenes {scenes.first}:{scenes.stop}"
    table = ScoreTable(
        title,
        ("metric", grounder.model_name),
        tuple((name, value) for name, value in rows.items()),
        (f"The phrases below are of the first {len(some)} scenes, each read alone.",),
        unit="shares of one",
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.md").write_text(table.markdown(), encoding="utf-8")
    with Tabletop() as world:
        cases: list[Case] = []
        for seed in track(some, description="page"):
            truth = scenes.render(world, seed)
            sample = sample_of(truth)
            cases += cases_of(seed, sample, reader.ground(sample, truth.rgb))
        sections = [
            (name, [_shown(case, scenes.render(world, case.index), reader) for case in chosen])
            for name, chosen in choose(cases, shown).sections()
        ]
    facts: Sequence[tuple[str, str]] = (
        ("model", grounder.model_name),
        ("phrases", str(len(cases))),
    )
    page = render_page(title, table, facts, sections)
    (folder / "index.html").write_text(page, encoding="utf-8")


def _shown(case: Case, truth: TabletopScene, reader: SampleReader) -> ShownCase:
    sample = sample_of(truth)
    found = reader.ground(sample, truth.rgb)[case.number]
    mask = sample.phrases[case.number].mask.decode()
    whole = (0, len(case.words))
    return ShownCase(case, truth.rgb, found.grounding, mask, None, case.words, whole)
