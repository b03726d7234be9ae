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

"""A frozen large multimodal model: encode an image once, then read, or answer, on top of it.

A family (family.py) says how its images are prepared, which grids its image tokens form, and how it
is loaded; everything else is here and the same for all: the prefix cache, the recorded
read, greedy generation. transformers' own model classes do the work.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.errors import PromptError
from flmm_ros.engine.lmm.attention import RECORDER_KEYWORD, RowRecorder
from flmm_ros.engine.lmm.family import LmmFamily
from flmm_ros.engine.lmm.loading import LoadOptions
from flmm_ros.engine.lmm.prefix import Prefix, cropped, preallocated_cache
from flmm_ros.engine.lmm.reading import LmmReading, padded_batch, places, tokens_of
from flmm_ros.engine.lmm.tokens import Span


@dataclass(frozen=True)
class Generated:
    """An answer: its ids without the end token, and where asked for the hidden states [L, S, D] of
    those that were fed back (all, but for the last one of an answer that was cut off)."""

    ids: tuple[int, ...]
    states: torch.Tensor | None = None


class Lmm(LmmFamily):
    """A frozen LMM. Build with `load`."""

    @classmethod
    @abstractmethod
    def load(cls, config: ModelConfig, options: LoadOptions) -> Lmm:
        """Loads the family's model from `config.lmm`."""

    def encode(
        self,
        image: NDArray[np.uint8],
        prefix_ids: Sequence[int] | None = None,
        *,
        keep_states: bool = False,
    ) -> Prefix:
        """Image and prompt prefix to a reusable cache.

        prefix_ids: ids ending with the image id, which stands once for the whole image; default:
            the template's.

        Raises:
            PromptError: no image id, or several.
        """
        image_hw = (image.shape[0], image.shape[1])
        ids = self._expand(prefix_ids or self.text().prefix(), image_hw)
        self._check_length(len(ids) + 1)
        # Every layer keeps every key, also those with a sliding window: the mask hides what is out
        # of the window, and image columns stay where they are.
        cache = preallocated_cache()
        positions = self.positions(ids[None], image_hw)
        output = self._base()(
            input_ids=ids[None],
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=keep_states,
            **_position_argument(positions),
            **self.more_arguments(ids[None]),
            **{k: v.to(self.device) for k, v in self.prepare(image).items()},
        )
        columns = (ids == self.image_token_id).nonzero()[:, 0]
        states = _stack_layers(output.hidden_states)[:, 0] if keep_states else None
        return Prefix(cache, len(ids), columns, self.views(image_hw), states, positions)

    def read(
        self,
        prefix: Prefix,
        suffix_ids: Sequence[int],
        spans: Sequence[Span],
        branches: Sequence[Span] = (),
    ) -> LmmReading:
        """One forward of the suffix on the cached prefix, recording the tokens of N spans.

        branches: see `Suffix`; each is read as if the others were not there.

        Raises:
            PromptError: prefix and suffix are longer than the model can take.
        """
        self._check_length(prefix.length + len(suffix_ids))
        if branches and not self._sees_all(prefix.length + len(suffix_ids)):
            return self._read_in_turn(prefix, suffix_ids, spans, branches)
        rows = torch.tensor([tokens_of(spans)], device=self.device)
        recorder = RowRecorder(rows, prefix.columns.to(self.device), branches)
        positions = prefix.next_positions(0, len(suffix_ids))
        if branches:
            positions = prefix.positions_at(places(len(suffix_ids), branches))
        with cropped(prefix):
            output = self._base()(
                input_ids=torch.tensor([list(suffix_ids)], device=self.device),
                past_key_values=prefix.cache,
                use_cache=True,
                output_hidden_states=True,
                **_position_argument(positions),
                **{RECORDER_KEYWORD: recorder},
            )
        states = _stack_layers(output.hidden_states)[:, 0]  # [L, S, D]
        recorded = self._recorded(recorder)[0]  # [L, A, R, I]
        return LmmReading.of(recorded, states, spans, prefix.views, self.config.merge)

    def _sees_all(self, tokens: int) -> bool:
        """Whether every token sees all before it: no layer has a shorter sliding window. A window
        counts tokens, those of other branches too."""
        window = getattr(self.model.config.get_text_config(), "sliding_window", None)
        return window is None or tokens <= window

    def _read_in_turn(
        self,
        prefix: Prefix,
        suffix_ids: Sequence[int],
        spans: Sequence[Span],
        branches: Sequence[Span],
    ) -> LmmReading:
        """The same as a branched read, with one forward a branch."""
        shared, readings = branches[0][0], []
        for start, stop in branches:
            ids = [*suffix_ids[:shared], *suffix_ids[start:stop]]
            own = [(a - start + shared, b - start + shared) for a, b in spans if start <= a < stop]
            readings.append(self.read(prefix, ids, own))
        return LmmReading.joined(readings, shared)

    def read_batch(
        self,
        image_args: Mapping[str, torch.Tensor],
        prefix_ids: Sequence[int],
        suffixes: Sequence[Sequence[int]],
        spans: Sequence[Sequence[Span]],
        images_hw: Sequence[tuple[int, int]],
    ) -> list[LmmReading]:
        """Reads B images, each with its own size, suffix and phrases, in one forward.

        Training's way in: no cache; samples are padded on the right, which causal attention never
        sees. `all_states` covers each sample's suffix.

        Args:
            image_args: the model's image arguments for B images; see `joined_arguments`.
            prefix_ids: as for `encode`. suffixes: B lists of ids.
            spans: for each sample the ranges of its suffix to read.
        """
        prefixes = [self._expand(prefix_ids, hw) for hw in images_hw]
        batch = padded_batch(prefixes, suffixes, spans, self.image_token_id)
        self._check_length(batch.ids.shape[1])
        recorder = RowRecorder(batch.rows, batch.columns)
        output = self._base()(
            input_ids=batch.ids,
            use_cache=False,
            output_hidden_states=True,
            **_position_argument(self._batch_positions(batch.ids, images_hw)),
            **self.more_arguments(batch.ids),
            **image_args,
            **{RECORDER_KEYWORD: recorder},
        )
        recorded, readings = self._recorded(recorder), []
        for n, (suffix, sample) in enumerate(zip(suffixes, spans, strict=True)):
            start = len(prefixes[n])
            states = [layer[n, start : start + len(suffix)] for layer in output.hidden_states[1:]]
            rows = recorded[n, ..., : batch.image_tokens[n]]
            views = self.views(images_hw[n])
            readings.append(
                LmmReading.of(rows, torch.stack(states), sample, views, self.config.merge)
            )
        return readings

    def _batch_positions(
        self, ids: torch.Tensor, images_hw: Sequence[tuple[int, int]]
    ) -> torch.Tensor | None:
        """Position ids [..., B, S] of samples with images of different sizes."""
        found = [self.positions(ids[n : n + 1], hw) for n, hw in enumerate(images_hw)]
        known = [each for each in found if each is not None]
        return torch.cat(known, dim=-2) if known else None

    def generate(
        self,
        prefix: Prefix,
        suffix_ids: Sequence[int],
        *,
        max_new_tokens: int,
        on_token: Callable[[tuple[int, ...]], None] | None = None,
        keep_states: bool = False,
        keep_suffix: bool = False,
    ) -> Generated:
        """Greedy answer with plain SDPA.

        on_token: called with all ids so far after each token; what it raises ends generation.
        keep_suffix: leave the suffix, without the answer, behind the prefix in the cache; then the
            caller crops it.
        """
        room = self.max_tokens - prefix.length - len(suffix_ids)
        self._check_length(prefix.length + len(suffix_ids) + 1)
        ends, step, done = self._end_ids(), list(suffix_ids), 0
        answer: list[int] = []
        states: list[torch.Tensor] = []
        head = self.model.get_output_embeddings()
        with cropped(prefix, len(suffix_ids) if keep_suffix else 0):
            for _ in range(min(max_new_tokens, room)):
                output = self._base()(
                    input_ids=torch.tensor([step], device=self.device),
                    past_key_values=prefix.cache,
                    use_cache=True,
                    output_hidden_states=keep_states,
                    **_position_argument(prefix.next_positions(done, len(step))),
                )
                if keep_states and answer:
                    states.append(_stack_layers(output.hidden_states)[:, 0])
                done += len(step)
                token = int(head(output.last_hidden_state[:, -1]).argmax())
                if token in ends:
                    break
                answer.append(token)
                step = [token]
                if on_token is not None:
                    on_token(tuple(answer))
        return Generated(tuple(answer), torch.cat(states, dim=1) if states else None)

    def _base(self) -> Any:
        """The model without its vocabulary head: reading needs no logits."""
        return self.model.model

    def _expand(self, prefix_ids: Sequence[int], image_hw: tuple[int, int]) -> torch.Tensor:
        """The image id replaced by what an image of this size becomes, int64 [S]."""
        images = list(prefix_ids).count(self.image_token_id)
        if images != 1:
            raise PromptError(
                f"expected a prompt with exactly one image, got {images}; LMM family "
                f"{self.family!r} is asked about one image at a time"
            )
        ids: list[int] = []
        for id_ in prefix_ids:
            ids += self.image_ids(image_hw) if id_ == self.image_token_id else [id_]
        return torch.tensor(ids, device=self.device)

    def _recorded(self, recorder: RowRecorder) -> torch.Tensor:
        expected = self.shape.layers
        if len(recorder.layers_seen) != expected:
            raise RuntimeError(
                f"LMM family {self.family!r}: expected attention rows of {expected} layers, got "
                f"{len(recorder.layers_seen)}; its attention does not go through transformers' "
                "AttentionInterface in every layer"
            )
        return recorder.stacked()

    def _check_length(self, tokens: int) -> None:
        if tokens > self.max_tokens:
            raise PromptError(
                f"expected at most {self.max_tokens} tokens of image and text, got {tokens}; "
                "say less at once"
            )

    def _end_ids(self) -> frozenset[int]:
        """Tokens that end an answer: of the weights' generation configuration, of the tokenizer,
        and what the template writes after an answer; any of them may be missing."""
        generation = getattr(self.model, "generation_config", None)
        found = getattr(generation, "eos_token_id", None)
        ids = {found} if isinstance(found, int) else set(found or ())
        if self.tokens is None:
            return frozenset(ids)
        if getattr(generation, "_from_model_config", False):
            # Nobody wrote a generation configuration: the id may be a default, some letter's.
            ids = {id_ for id_ in ids if self.tokens.is_control(id_)}
        return frozenset(ids) | self.tokens.end_ids


def _stack_layers(hidden_states: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """[L, B, S, D], without the embedding output."""
    return torch.stack(hidden_states[1:])


def _position_argument(positions: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Nothing for families that count: transformers counts by itself."""
    return {} if positions is None else {"position_ids": positions}
