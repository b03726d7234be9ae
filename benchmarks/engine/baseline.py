"""What one would write without this engine: correct, straightforward, and nothing kept.

Every command runs from the beginning: transformers' own eager attention, generation by
transformers' `generate`, the whole sequence once more with the attention of all tokens in all
layers kept, SAM's image encoder, and the phrases decoded and refined one by one. The layers, the
weights and the arithmetic behind the attention are those of the engine; so are the masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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


class Baseline:
    """The same questions as to a `Scene`, answered the straightforward way."""

    def __init__(self, grounder: Grounder) -> None:
        self._grounder = grounder

    @torch.inference_mode()
    def ask(self, image: NDArray[np.uint8], command: str) -> list[Grounding]:
        """Answers, then grounds the phrases of the answer."""
        lmm = self._grounder.lmm
        question = lmm.text().question(command).ids
        ids = self._whole(image, question)
        with self._eager():
            generated = lmm.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self._grounder.config.max_new_tokens,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=lmm.text().tokenizer.eos_token_id,
                **self._pixels(image),
            )
        said = generated[0, ids.shape[1] :].tolist()
        said = said[:-1] if said[-1] == lmm.text().tokenizer.eos_token_id else said
        answer = lmm.text().decode(said)
        phrases = find_phrases(answer.text)
        spans = [answer.token_span(phrase.text_span) for phrase in phrases]
        start = len(question)
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

    def _point(
        self,
        image: NDArray[np.uint8],
        suffix_ids: Sequence[int],
        spans: Sequence[Span],
        phrases: Sequence[Phrase],
    ) -> list[Grounding]:
        grounder, image_hw = self._grounder, (image.shape[0], image.shape[1])
        ids = self._whole(image, suffix_ids)
        start = ids.shape[1] - len(suffix_ids)
        with self._eager():
            output = grounder.lmm.model(
                input_ids=ids,
                use_cache=False,
                output_attentions=True,
                output_hidden_states=True,
                **self._pixels(image),
            )
        columns = (ids[0] == grounder.lmm.image_token_id).nonzero()[:, 0]
        views, heads = grounder.lmm.views(image_hw), grounder.heads
        features = heads.see(image)
        found = []
        for phrase, (a, b) in zip(phrases, spans, strict=True):
            rows = torch.stack(
                [
                    layer[0, :, start + a : start + b][..., columns].float()
                    for layer in output.attentions
                ]
            )
            maps = join_views(merge_views(rows, [(0, b - a)], views, grounder.model.merge))
            states = torch.stack(
                [layer[0, start + a : start + b] for layer in output.hidden_states[1:]]
            )
            coarse = crop_to_image(heads.decode(maps), views[-1], image_hw)
            refined = heads.refine(features, coarse, [heads.weighted_states(states)], image_hw)
            found += groundings_from(
                [phrase],
                heads.upscale(refined.low_logits, image_hw),
                crop_to_image(maps.mean(dim=1), views[-1], image_hw),
                refined.iou,
                mask_threshold=grounder.config.mask_threshold,
                score_threshold=grounder.score_threshold,
            )
        return found

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
    def _eager(self) -> Iterator[None]:
        model = self._grounder.lmm.model
        model.set_attn_implementation({"text_config": "eager"})
        try:
            yield
        finally:
            model.set_attn_implementation({"text_config": ATTENTION_NAME})
