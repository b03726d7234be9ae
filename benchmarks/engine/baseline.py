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

"""What one would write without this engine: correct, straightforward, and nothing kept.

Every command runs from the beginning: transformers' own attention, generation by transformers'
`generate`, the attention of all tokens in all layers kept, SAM's image encoder, and the phrases
decoded and refined one by one. The layers, the weights and the arithmetic behind the attention are
those of the engine; so are the masks.

A question is answered in one of two ways, of which a benchmark takes the faster: in one pass, whose
attention is kept while the answer is generated; or in two, where the answer is generated with plain
SDPA and the whole sequence then runs once more with its attention kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flmm_ros.engine.answer import Grounding, Phrase
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.language.phrases import find_phrases
from flmm_ros.engine.lmm.attention import ATTENTION_NAME, join_views, merge_views
from flmm_ros.engine.lmm.tokens import Span
from flmm_ros.engine.masks.framing import crop_to_image
from flmm_ros.engine.masks.results import groundings_from


@dataclass(frozen=True)
class _KeptPhrase:
    """What was kept of one phrase of n tokens: attention rows [L, A, n, columns], states
    [L, n, D]."""

    rows: torch.Tensor
    states: torch.Tensor


class Baseline:
    """The same questions as to a `Scene`, answered the straightforward way."""

    def __init__(self, grounder: Grounder) -> None:
        self._grounder = grounder

    @torch.inference_mode()
    def ask_in_one_pass(self, image: NDArray[np.uint8], command: str) -> list[Grounding]:
        """Answers and keeps the attention of every step; grounds the phrases of the answer."""
        ids = self._whole(image, self._question(command))
        with self._attention("eager"):
            output = self._generate(image, ids, output_attentions=True, output_hidden_states=True)
        said = self._without_end(output.sequences[0, ids.shape[1] :].tolist())
        answer = self._grounder.lmm.text().decode(said)
        phrases = find_phrases(answer.text)
        columns = self._columns(ids)
        # Step 0 is the prompt's; step i reads the answer's token i - 1.
        rows = [
            torch.stack([layer[0, :, -1, columns].float() for layer in step])
            for step in output.attentions[1:]
        ]
        states = [
            torch.stack([layer[0, -1] for layer in step[1:]]) for step in output.hidden_states[1:]
        ]
        kept = []
        for phrase in phrases:
            a, b = answer.token_span(phrase.text_span)
            kept.append(_KeptPhrase(torch.stack(rows[a:b], 2), torch.stack(states[a:b], 1)))
        return self._masks(image, phrases, kept)

    @torch.inference_mode()
    def ask_in_two_passes(self, image: NDArray[np.uint8], command: str) -> list[Grounding]:
        """Answers, then grounds the phrases of the answer."""
        question = self._question(command)
        ids = self._whole(image, question)
        with self._attention("sdpa"):
            output = self._generate(image, ids)
        said = self._without_end(output.sequences[0, ids.shape[1] :].tolist())
        answer = self._grounder.lmm.text().decode(said)
        phrases, start = find_phrases(answer.text), len(question)
        spans = [answer.token_span(phrase.text_span) for phrase in phrases]
        spans = [(start + a, start + b) for a, b in spans]
        return self._point(image, (*question, *said), spans, phrases)

    @torch.inference_mode()
    def ground(self, image: NDArray[np.uint8], texts: Sequence[str]) -> list[Grounding]:
        """Grounds phrases as one joined answer, as the original does."""
        answer, phrases = "", []
        for text in texts:
            answer += ". " if answer else ""
            phrases.append(Phrase(text, (len(answer), len(answer) + len(text))))
            answer += text
        suffix = self._grounder.lmm.text().reading(
            self._grounder.model.prompt, answer, [phrase.text_span for phrase in phrases]
        )
        return self._point(image, suffix.ids, suffix.spans, phrases)

    def _question(self, command: str) -> tuple[int, ...]:
        return tuple(self._grounder.lmm.text().question(command).ids)

    def _generate(self, image: NDArray[np.uint8], ids: torch.Tensor, **wanted: bool) -> Any:
        lmm = self._grounder.lmm
        return lmm.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=self._grounder.config.max_new_tokens,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=lmm.text().tokenizer.eos_token_id,
            return_dict_in_generate=True,
            **self._pixels(image),
            **wanted,
        )

    def _without_end(self, generated: list[int]) -> list[int]:
        """The answer without its end token. One that was cut off has no attention for its last
        token, which was never read."""
        if generated[-1] != self._grounder.lmm.text().tokenizer.eos_token_id:
            raise ValueError("expected an answer that ends by itself; raise max_new_tokens")
        return generated[:-1]

    def _point(
        self,
        image: NDArray[np.uint8],
        suffix_ids: Sequence[int],
        spans: Sequence[Span],
        phrases: Sequence[Phrase],
    ) -> list[Grounding]:
        """One forward of the whole sequence with all attention and states kept, then the masks."""
        ids = self._whole(image, suffix_ids)
        start, columns = ids.shape[1] - len(suffix_ids), self._columns(ids)
        with self._attention("eager"):
            output = self._grounder.lmm.model(
                input_ids=ids,
                use_cache=False,
                output_attentions=True,
                output_hidden_states=True,
                **self._pixels(image),
            )
        kept = []
        for a, b in spans:
            rows = [
                layer[0, :, start + a : start + b][..., columns].float()
                for layer in output.attentions
            ]
            states = [layer[0, start + a : start + b] for layer in output.hidden_states[1:]]
            kept.append(_KeptPhrase(torch.stack(rows), torch.stack(states)))
        return self._masks(image, phrases, kept)

    def _masks(
        self, image: NDArray[np.uint8], phrases: Sequence[Phrase], kept: Sequence[_KeptPhrase]
    ) -> list[Grounding]:
        """Decodes and refines the phrases one by one."""
        grounder, image_hw = self._grounder, (image.shape[0], image.shape[1])
        views, heads = grounder.lmm.views(image_hw), grounder.heads
        features = heads.see(image)
        found = []
        for phrase, each in zip(phrases, kept, strict=True):
            count = each.rows.shape[2]
            maps = join_views(merge_views(each.rows, [(0, count)], views, grounder.model.merge))
            coarse = crop_to_image(heads.decode(maps), views[-1], image_hw)
            cues = [heads.weighted_states(each.states)]
            refined = heads.refine(features, coarse, cues, image_hw)
            found += groundings_from(
                [phrase],
                heads.upscale(refined.low_logits, image_hw),
                crop_to_image(maps.mean(dim=1), views[-1], image_hw),
                refined.iou,
                mask_threshold=grounder.config.mask_threshold,
                score_threshold=grounder.score_threshold,
            )
        return found

    def _columns(self, ids: torch.Tensor) -> torch.Tensor:
        return (ids[0] == self._grounder.lmm.image_token_id).nonzero()[:, 0]

    def _whole(self, image: NDArray[np.uint8], suffix_ids: Sequence[int]) -> torch.Tensor:
        """Ids [1, S] of the whole prompt, image included."""
        lmm = self._grounder.lmm
        ids: list[int] = []
        for id_ in lmm.text().prefix():
            is_image = id_ == lmm.image_token_id
            ids += lmm.image_ids((image.shape[0], image.shape[1])) if is_image else [id_]
        return torch.tensor([[*ids, *suffix_ids]], device=lmm.device)

    def _pixels(self, image: NDArray[np.uint8]) -> dict[str, torch.Tensor]:
        lmm = self._grounder.lmm
        return {name: value.to(lmm.device) for name, value in lmm.prepare(image).items()}

    @contextmanager
    def _attention(self, name: str) -> Iterator[None]:
        """transformers' own attention of that name, in the text model."""
        model = self._grounder.lmm.model
        model.set_attn_implementation({"text_config": name})
        try:
            yield
        finally:
            model.set_attn_implementation({"text_config": ATTENTION_NAME})
