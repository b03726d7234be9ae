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

"""Gets samples ready for the frozen parts, in worker processes: pixels, ids, masks.

What cannot be used (a broken image, words the model has no token for) is replaced by the next
sample; that one says what it stands in for, and the run counts and names it.
"""

from __future__ import annotations

import bisect
import dataclasses
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from flmm_ros.engine.errors import ConfigError, PromptError
from flmm_ros.engine.heads.mask_refiner import MaskRefiner
from flmm_ros.engine.lmm import Lmm
from flmm_ros.engine.lmm.tokens import Span
from training.data.registry import open_data
from training.data.rle import DataError
from training.data.sample import BrokenSampleError, DataSet, GroundingSample, load_rgb
from training.features.readings import SampleReading, SampleTruth
from training.loop.order import Draw, StepRange

REPLACEMENTS = 100  # broken samples in a row before the data as a whole is called broken


@dataclass(frozen=True)
class FrozenInput:
    """What the frozen parts need of one sample.

    image_args: of the language model, with a batch axis of one. pixels: of the refiner's image
    encoder [3, s, s]. ids: the suffix; spans: of its phrases; answer_span: of the whole answer.
    groundable: float [S] for the answer's tokens.
    """

    image_args: Mapping[str, torch.Tensor]
    pixels: torch.Tensor
    image_hw: tuple[int, int]
    ids: tuple[int, ...]
    spans: tuple[Span, ...]
    answer_span: Span
    groundable: torch.Tensor


@dataclass(frozen=True)
class ReadySample:
    """One sample, ready: truth, and what the heads will look at or what makes it.

    Exactly one of `given` and `reading` is there. sample: as the data set gives it. left_out: names
    of broken samples it takes the place of, and what is wrong with them.
    """

    sample: GroundingSample
    truth: SampleTruth
    given: FrozenInput | None = None
    reading: SampleReading | None = None
    left_out: tuple[tuple[str, str], ...] = ()


class ReadingSource(Protocol):
    """Where readings come from: prepared for the frozen parts, or kept in a cache."""

    def ready(self, sample: GroundingSample, phrases: Sequence[int]) -> ReadySample:
        """A sample with the chosen phrases.

        Raises:
            BrokenSampleError, PromptError: it cannot be used.
        """
        ...


@dataclass(frozen=True)
class FrozenSource:
    """Prepares samples for the frozen parts."""

    lmm: Lmm
    refiner: MaskRefiner

    def ready(self, sample: GroundingSample, phrases: Sequence[int]) -> ReadySample:
        """As `ReadingSource`."""
        truth = truth_of(sample, phrases)
        return ReadySample(sample, truth, given=self.given(sample, load_rgb(sample), phrases))

    def given(
        self, sample: GroundingSample, rgb: NDArray[np.uint8], phrases: Sequence[int]
    ) -> FrozenInput:
        """The input of the frozen parts, from the image RGB uint8 [H, W, 3]."""
        asked = sample.prompt_for(self.lmm.config.prompt)
        wanted = [sample.phrases[n].text_span for n in phrases]
        meant = [p.text_span for p in sample.phrases if not p.is_absent]
        suffix = self.lmm.text().reading(
            asked, sample.text, [(0, len(sample.text)), *wanted, *meant]
        )
        (first, stop), spans = suffix.spans[0], suffix.spans[1:]
        self._require_room(sample.size_hw, stop)
        groundable = torch.zeros(stop - first)
        for start, end in spans[len(wanted) :]:
            groundable[start - first : end - first] = 1
        return FrozenInput(
            self.lmm.prepare(rgb),
            self.refiner.pixels([rgb])[0],
            sample.size_hw,
            suffix.ids[:stop],
            spans[: len(wanted)],
            (first, stop),
            groundable,
        )

    def _require_room(self, image_hw: tuple[int, int], suffix_tokens: int) -> None:
        """Raises PromptError for a sample that is longer than the language model can take."""
        prefix = len(self.lmm.text().prefix()) - 1 + len(self.lmm.image_ids(image_hw))
        tokens, most = prefix + suffix_tokens, self.lmm.max_tokens
        if tokens > most:
            raise PromptError(f"expected at most {most} tokens of image and text, got {tokens}")


def truth_of(sample: GroundingSample, phrases: Sequence[int]) -> SampleTruth:
    """The masks of chosen phrases."""
    chosen = [sample.phrases[n] for n in phrases]
    masks = np.stack([phrase.mask.decode() for phrase in chosen])
    return SampleTruth(
        sample.key, tuple(sample.words_of(p) for p in chosen), torch.from_numpy(masks)
    )


def usable_phrases(sample: GroundingSample, *, absent: bool) -> list[int]:
    """Which phrases can be learned from: with pixels, or, where wanted, truly absent."""
    return [
        n
        for n, phrase in enumerate(sample.phrases)
        if (absent and phrase.is_absent) or (not phrase.is_absent and phrase.mask.area_px > 0)
    ]


@dataclass(frozen=True)
class PhraseSampling:
    """How phrases are drawn: at most `most` of a sample, absent ones or not; every one of them in
    the order of the sample where `most` is 0."""

    most: int
    absent: bool
    seed: int

    def of(self, sample: GroundingSample, draw: Draw) -> list[int]:
        """The phrases of one draw.

        Raises:
            BrokenSampleError: there is none.
        """
        usable = usable_phrases(sample, absent=self.absent)
        if not usable:
            raise BrokenSampleError(sample.key, "no phrase that can be learned from")
        if not self.most or len(usable) <= self.most:
            return usable
        rng = np.random.default_rng([self.seed, 1, *draw])
        return sorted(int(n) for n in rng.choice(usable, self.most, replace=False))


class ReadySamples(Dataset[Any]):
    """Several data sets as one, ready by draw (epoch, index)."""

    def __init__(
        self, data: Sequence[DataSet], source: ReadingSource, drawing: PhraseSampling
    ) -> None:
        self.data, self.source, self.drawing = list(data), source, drawing
        self._ends = list(np.cumsum([len(each) for each in self.data]))

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._ends else 0

    def sample(self, index: int) -> GroundingSample:
        """A sample by its place in all data sets."""
        which = bisect.bisect_right(self._ends, index)
        before = self._ends[which - 1] if which else 0
        return self.data[which][int(index - before)]

    def __getitem__(self, draw: Draw) -> ReadySample:
        epoch, index = draw
        left_out: list[tuple[str, str]] = []
        for _ in range(REPLACEMENTS):
            name = f"sample {index}"
            try:
                sample = self.sample(index)
                name = sample.key
                ready = self.source.ready(sample, self.drawing.of(sample, (epoch, index)))
                return dataclasses.replace(ready, left_out=tuple(left_out))
            except (BrokenSampleError, PromptError) as error:
                left_out.append((name, str(error)))
                index = (index + 1) % len(self)
        raise DataError(
            f"data: expected usable samples, got {REPLACEMENTS} broken ones in a row, the last: "
            f"{left_out[-1]}; run python -m training.data check"
        )


def ready_loader(
    samples: ReadySamples, steps: StepRange, workers: int
) -> DataLoader[list[ReadySample]]:
    """The forwards of some steps, each a list of ready samples."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive a fork
    return DataLoader(
        samples,
        batch_sampler=cast(Any, steps),  # draws instead of numbers
        num_workers=workers,
        collate_fn=list,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=start_worker,
        prefetch_factor=4 if workers else None,
    )


def start_worker(_: int) -> None:
    """Prepares a loader's process.

    Workers share the cores; each one's own threads would only be in the others' way. A signal that
    goes to the whole process group (Slurm, Kubernetes, Ctrl-C) asks the run to end after its step,
    which still needs the workers; they end with the process they work for.
    """
    torch.set_num_threads(1)
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, signal.SIG_IGN)


def ready_on(ready: ReadySample, device: torch.device) -> ReadySample:
    """What the heads need of it, on a device; inputs of the frozen parts go there on their own."""
    reading = None if ready.reading is None else ready.reading.to(device)
    return dataclasses.replace(ready, truth=ready.truth.to(device), reading=reading)


def opened(names: Sequence[str], root: str) -> list[DataSet]:
    """Data sets by NAME:SPLIT, or NAME:SPLIT:OPTION=VALUE,... with the data set's own options.

    Raises:
        ConfigError: not of this form. DataError: unknown, or files missing.
    """
    found = []
    for name in names:
        title, _, rest = name.partition(":")
        split, _, texts = rest.partition(":")
        pairs = [text.partition("=") for text in texts.split(",") if text]
        if not split or not all(equals for _, equals, _ in pairs):
            raise ConfigError(
                "data: expected NAME:SPLIT or NAME:SPLIT:OPTION=VALUE, for example refcoco:train "
                f"or refcoco:train:expressions=one, got {name!r}"
            )
        options = {key: yaml.safe_load(value) for key, _, value in pairs}
        found.append(open_data(title, root, split=split, **options))
    return found
