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

"""Proof that the language model stays what it was: its logits, to the last bit.

F-LMM's promise is a frozen model. Here the logits of images and texts are computed four times: with
the heads loaded and the engine's attention function registered, while a recorder travels along,
after the model has grounded and spoken, and by transformers alone, with its own SDPA attention and
nothing of this package. All must be equal bit by bit, and so must every weight. One model is in
memory at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from flmm_ros.engine.config import GrounderConfig, ModelConfig
from flmm_ros.engine.config.model_search import locate_model
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.lmm import Lmm, LoadOptions
from flmm_ros.engine.lmm.attention import RECORDER_KEYWORD, RowRecorder
from flmm_ros.engine.lmm.loading import DTYPES, source_arguments
from flmm_ros.engine.lmm.tokens import Suffix

SIZES_HW = ((240, 320), (320, 240), (96, 96))  # families cut wide, high and small ones differently
WORDS = 24  # drawn from the whole vocabulary: no model refuses them
READ = 4  # of which are recorded
SPOKEN = 8


@dataclass(frozen=True)
class Retention:
    """What was compared, against transformers alone. largest_difference: of any logit, for each of
    the other three; 0 exactly where all bits are equal."""

    model: str
    inputs: int
    logits: int
    equal_bits: Mapping[str, bool]
    largest_difference: Mapping[str, float]
    weights: int
    equal_weights: bool

    @property
    def holds(self) -> bool:
        """Whether nothing at all has changed."""
        return self.equal_weights and all(self.equal_bits.values())

    def to_json(self) -> dict[str, Any]:
        """As plain values, with the verdict."""
        return {"holds": self.holds, **asdict(self)}


@dataclass(frozen=True)
class RetentionInputs:
    """One image and text: what the model's forward takes, and where the image stands in it."""

    image: NDArray[np.uint8]
    words: tuple[int, ...]
    ids: torch.Tensor
    arguments: Mapping[str, torch.Tensor]
    columns: torch.Tensor


def check_retention(config: GrounderConfig) -> Retention:
    """Compares the model of a configuration, with everything loaded, with the bare one.

    Raises:
        ConfigError: a quantised model, whose weights are not those of the file.
    """
    if config.quantisation != "none":
        raise ConfigError(
            f"retention: expected quantisation none, got {config.quantisation!r}; quantised "
            "weights differ from the file's before anything else does"
        )
    return check_model(locate_model(config.model, download=config.download), config)


def check_model(model: ModelConfig, config: GrounderConfig) -> Retention:
    """The same for a model that is described in Python."""
    grounder = Grounder.from_model(model, config)
    lmm, model_class = grounder.lmm, type(grounder.lmm.model)
    inputs = [make_inputs(lmm, image) for image in pictures()]
    seen = {
        "heads loaded": [logits_of(lmm.model, one) for one in inputs],
        "recorder registered": [logits_of(lmm.model, one, READ) for one in inputs],
    }
    for one in inputs:
        use(grounder, one)
    seen["after grounding and speaking"] = [logits_of(lmm.model, one) for one in inputs]
    weights = digests(lmm.model)
    options = LoadOptions(str(lmm.device), _name_of(lmm.model.dtype), download=config.download)
    source = source_arguments(model, options)
    grounder.close()
    del lmm, grounder
    bare = model_class.from_pretrained(model.lmm, dtype=DTYPES[options.dtype], **source).to(
        options.device
    )
    bare.set_attn_implementation({"text_config": "sdpa"})
    return compare(model.name, bare.eval(), inputs, seen, weights)


def compare(
    name: str,
    bare: PreTrainedModel,
    inputs: Sequence[RetentionInputs],
    seen: Mapping[str, Sequence[torch.Tensor]],
    weights: Mapping[str, str],
) -> Retention:
    """Logits and weights seen before against those of the bare model."""
    true = [logits_of(bare, one) for one in inputs]
    return Retention(
        model=name,
        inputs=len(inputs),
        logits=sum(one.numel() for one in true),
        equal_bits={
            how: all(torch.equal(a, b) for a, b in zip(found, true, strict=True))
            for how, found in seen.items()
        },
        largest_difference={
            how: max(
                float((a.double() - b.double()).abs().max())
                for a, b in zip(found, true, strict=True)
            )
            for how, found in seen.items()
        },
        weights=len(weights),
        equal_weights=weights == digests(bare),
    )


def pictures() -> list[NDArray[np.uint8]]:
    """Images with something everywhere, RGB uint8 [H, W, 3]."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size_hw, 3), np.uint8) for size_hw in SIZES_HW]


def make_inputs(lmm: Lmm, image: NDArray[np.uint8]) -> RetentionInputs:
    """The model's prompt about an image, followed by words at random."""
    image_hw = (image.shape[0], image.shape[1])
    question = lmm.text().question(lmm.config.prompt).ids
    words = (*question, *_random_ids(lmm, WORDS))
    prefix: list[int] = []
    for id_ in lmm.text().prefix():
        prefix += lmm.image_ids(image_hw) if id_ == lmm.image_token_id else [id_]
    ids = torch.tensor([[*prefix, *words]], device=lmm.device)
    arguments = {name: value.to(lmm.device) for name, value in lmm.prepare(image).items()}
    arguments |= lmm.more_arguments(ids)
    positions = lmm.positions(ids, image_hw)
    if positions is not None:
        arguments["position_ids"] = positions
    columns = (ids[0] == lmm.image_token_id).nonzero()[:, 0]
    return RetentionInputs(image, words, ids, arguments, columns)


@torch.inference_mode()
def logits_of(model: PreTrainedModel, inputs: RetentionInputs, recorded: int = 0) -> torch.Tensor:
    """The logits [S, vocabulary] on the CPU; the last `recorded` tokens travel with a recorder."""
    more: dict[str, Any] = {}
    if recorded:
        last = inputs.ids.shape[1]
        rows = torch.arange(last - recorded, last, device=inputs.ids.device)[None]
        more[RECORDER_KEYWORD] = RowRecorder(rows, inputs.columns)
    output = model(input_ids=inputs.ids, use_cache=False, **inputs.arguments, **more)
    if recorded and not more[RECORDER_KEYWORD].layers_seen:
        raise RuntimeError("retention: expected the recorder to be reached, got no layer of it")
    logits: torch.Tensor = output.logits[0].cpu()
    return logits


def use(grounder: Grounder, inputs: RetentionInputs) -> None:
    """Everything a command does: encode, read, decode, refine, speak."""
    count = len(inputs.words)
    scene = grounder.open(inputs.image)
    scene.trace(Suffix(inputs.words, ((count - READ, count),)))
    with torch.inference_mode():
        prefix = grounder.lmm.encode(inputs.image)
        grounder.lmm.generate(prefix, inputs.words, max_new_tokens=SPOKEN)


def digests(model: PreTrainedModel) -> dict[str, str]:
    """A digest of the bytes of every weight, by name."""
    return {
        name: hashlib.blake2b(
            value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, value in model.state_dict().items()
    }


def _random_ids(lmm: Lmm, count: int) -> list[int]:
    """Ids of ordinary tokens."""
    size = int(lmm.model.get_input_embeddings().num_embeddings)
    special = {lmm.image_token_id, *lmm.text().tokenizer.all_special_ids}
    ordinary = [i for i in range(min(size, len(lmm.text().tokenizer))) if i not in special]
    drawn = np.random.default_rng(1).choice(ordinary, count)
    return [int(i) for i in drawn]


def _name_of(dtype: torch.dtype) -> str:
    return next(name for name, value in DTYPES.items() if value is dtype)
