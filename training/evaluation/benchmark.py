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

"""One model on one split of a published data set: measure, reduce, write table, JSON and page."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import track

from flmm_ros.engine.fingerprint import (
    model_fingerprint,
    settings_fingerprint,
    weights_fingerprint,
)
from training.data.fingerprint import data_fingerprint
from training.data.registry import find, open_data
from training.data.sample import DataSet, Skipped, load_rgb, read_sample
from training.disk import writing
from training.evaluation.cases import Case
from training.evaluation.measuring import SampleReader, cases_of
from training.evaluation.metrics import calibration_error, score_bins
from training.evaluation.pages.page import ShownCase, choose, render_page
from training.evaluation.pages.tables import ScoreTable, score_table
from training.evaluation.processes import EvaluationProcess, in_order
from training.evaluation.published import published_for
from training.evaluation.records import CaseRecords
from training.evaluation.scores import (
    Measure,
    Scores,
    generalised,
    narrative,
    reasoning,
    referring,
)

log = logging.getLogger(__name__)
FORMAT = "flmm_ros.evaluation/1"


@dataclass(frozen=True)
class Benchmark:
    """How a data set is measured: its metrics, and options of its reader as others evaluate it."""

    measure: Measure
    options: Mapping[str, Any] = field(default_factory=dict)


_REFERRING = Benchmark(referring, {"expressions": "first"})  # as F-LMM's published numbers
BENCHMARKS: dict[str, Benchmark] = {
    "refcoco": _REFERRING,
    "refcoco+": _REFERRING,
    "refcocog": _REFERRING,
    "refcoco-google": _REFERRING,
    "refcocog-google": _REFERRING,
    "png": Benchmark(narrative),
    "reasonseg": Benchmark(reasoning),
    "grefcoco": Benchmark(generalised),
}


@dataclass(frozen=True)
class BenchmarkRequest:
    """What is to be measured. options: of the data set, over the benchmark's own. limit: only the
    first so many samples. shown: cases of each sort on the page."""

    data: str
    root: Path
    split: str
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    shown: int = 6

    @property
    def benchmark(self) -> Benchmark:
        """The data set's own; one added later is measured like gRefCOCO, which knows absence."""
        return BENCHMARKS.get(self.data, Benchmark(generalised))

    @property
    def all_options(self) -> dict[str, Any]:
        """The data set's options, the user's first."""
        return {**self.benchmark.options, **self.options}


@dataclass(frozen=True)
class BenchmarkResult:
    """Everything one evaluation found, the same in every process."""

    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]
    scores: Scores
    seconds: float


def run_benchmark(
    request: BenchmarkRequest, reader: SampleReader, process: EvaluationProcess
) -> tuple[BenchmarkResult, DataSet]:
    """Measures this process's share and gathers everybody's.

    Raises:
        DataError: the data set cannot be read. ConfigError: `out` holds another evaluation.
    """
    data = open_data(request.data, request.root, request.split, **request.all_options)
    start = time.monotonic()
    records = CaseRecords(
        request.out / "cases", about(request, reader, len(data)), f"{process.rank}"
    )
    before = records.open()
    process.gather([0])  # nobody writes before everybody has read
    done = {case.index for case in before}
    count = len(data) if request.limit is None else min(request.limit, len(data))
    todo = [i for i in range(count) if i not in done]
    if done and process.is_first:
        log.info("%d of %d samples were measured before", len(done), count)
    own: list[Case] = []
    try:
        for index in track(
            process.share(todo),
            description=f"{request.data} {request.split}",
            disable=not process.is_first,
        ):
            cases = measure_sample(data, index, reader)
            if cases:
                records.add(cases)
            own += cases
    finally:
        records.close()
    cases = in_order([*(c for c in before if c.index < count), *process.gather(own)])
    skipped = {s.key: s for s in process.gather(data.skipped)}
    return BenchmarkResult(
        tuple(cases),
        tuple(skipped[key] for key in sorted(skipped)),
        request.benchmark.measure(cases),
        time.monotonic() - start,
    ), data


def about(request: BenchmarkRequest, reader: SampleReader, samples: int) -> dict[str, Any]:
    """What the cases in a folder belong to: everything that changes one of them."""
    grounder = reader.grounder
    return {
        "format": FORMAT,
        "model": grounder.model_name,
        "lmm": Path(grounder.model.lmm).name,
        "heads": Path(grounder.model.heads).name,
        "weights": weights_fingerprint(grounder.lmm.model, grounder.heads),
        "mask_threshold": grounder.config.mask_threshold,
        "score_threshold": grounder.score_threshold,
        "data": request.data,
        "split": request.split,
        "options": request.all_options,
        "samples": samples,
        "reading": "joined" if reader.is_joined else "apart",
        "answers": reader.answers,
        **model_fingerprint(grounder.model),
        **settings_fingerprint(grounder.config, grounder.lmm.device),
        **data_fingerprint(request.data, request.root, request.split),
    }


def measure_sample(data: DataSet, index: int, reader: SampleReader) -> list[Case]:
    """The cases of one sample; none where it is broken, which the data set then names."""
    found = read_sample(data, index)
    if found is None:
        return []
    sample, rgb = found
    return cases_of(index, sample, reader.ground(sample, rgb))


def write_results(
    request: BenchmarkRequest,
    reader: SampleReader,
    measured: BenchmarkResult,
    data: DataSet,
    processes: int,
) -> ScoreTable:
    """Writes evaluation.json, evaluation.md and index.html into `request.out`."""
    published = published_for(request.data, request.split)
    title = title_of(request, len(data))
    table = score_table(title, reader.grounder.model_name, measured.scores, published)
    found = summary(request, reader, measured, len(data))
    found |= {"seconds": round(measured.seconds, 1), "processes": processes}
    found["published"] = [asdict(one) for one in published]
    with writing(request.out):
        request.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=1) + "\n"
        (request.out / "evaluation.json").write_text(text, encoding="utf-8")
        facts = _facts(found)
        lines = ["", *(f"- {name}: {value}" for name, value in facts)]
        (request.out / "evaluation.md").write_text(
            table.markdown() + "\n".join(lines) + "\n", encoding="utf-8"
        )
        sections = [
            (name, [_shown(case, data, reader) for case in cases])
            for name, cases in choose(measured.cases, request.shown).sections()
        ]
        page = render_page(title, table, facts, sections)
        (request.out / "index.html").write_text(page, encoding="utf-8")
    return table


def title_of(request: BenchmarkRequest, samples: int) -> str:
    """The data set and split, and what it is only a part of."""
    published = find(request.data)
    title, whole = f"{published.title} {request.split}", published.images.get(request.split)
    measured = min(samples, request.limit or samples)
    is_cut_otherwise = set(request.options) - {"expressions"}
    if whole is not None and samples != whole and not is_cut_otherwise:
        return f"{title}, {measured} images instead of the published {whole}"
    return title if measured == samples else f"{title}, only {measured} of {samples} samples"


def summary(
    request: BenchmarkRequest, reader: SampleReader, measured: BenchmarkResult, samples: int
) -> dict[str, Any]:
    """What the JSON says; scores are shares of one."""
    cases = measured.cases
    refused = [case for case in cases if case.refused]
    bins = score_bins([c.score for c in cases], [c.iou > 0.5 for c in cases])
    return {
        **about(request, reader, samples),
        "measured": len({case.index for case in cases}),
        "phrases": len(cases),
        "scores": measured.scores,
        "calibration_error": calibration_error(bins),
        "refused": {
            "phrases": len(refused),
            "first": [f"{c.key}: {c.refused}" for c in refused[:10]],
        },
        "skipped": [asdict(s) for s in measured.skipped],
    }


def _facts(found: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    options = ", ".join(f"{k}={v}" for k, v in found["options"].items())
    facts = [
        ("model", str(found["model"])),
        ("samples", str(found["measured"])),
        ("phrases", str(found["phrases"])),
        ("read", str(found["reading"])),
        ("refused", str(found["refused"]["phrases"])),
        ("broken samples left out", str(len(found["skipped"]))),
        ("calibration error", f"{found['calibration_error']:.3f}"),
        ("seconds", f"{found['seconds']:.0f}"),
        ("processes", str(found["processes"])),
    ]
    return facts + ([("data options", options)] if options else [])


def _shown(case: Case, data: DataSet, reader: SampleReader) -> ShownCase:
    """A case with its pictures, read again."""
    sample = data[case.index]
    rgb = load_rgb(sample)
    found = reader.ground(sample, rgb)[case.number]
    phrase = sample.phrases[case.number]
    return ShownCase(
        case,
        rgb,
        found.grounding,
        phrase.mask.decode(),
        phrase.ignored.decode() if phrase.ignored is not None else None,
        sample.text,
        phrase.text_span,
        found.answer,
    )
