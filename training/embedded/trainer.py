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

"""Runs the stages of the embedded model's training in order, each resumable."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.heads.checkpoint import load_heads, save_heads
from flmm_ros.engine.heads.mask_refiner import MaskRefiner
from flmm_ros.engine.heads.trained import Heads
from flmm_ros.engine.lmm.families.llava import Llava, PixelRule
from training.embedded import export
from training.embedded.language import turns
from training.embedded.language.tokenizer import build_tokenizer
from training.embedded.settings import EmbeddedSettings
from training.embedded.stages import heads, lmm, readings, refiner_encoder, vision_encoder
from training.embedded.stages import phrase_selector as selector
from training.embedded.stages.batches import ahead
from training.embedded.stages.scenes import CHUNK, SceneSet, load_scenes
from training.loop.checkpoints import newest

log = logging.getLogger("training.embedded")
ALIGNED = 4_000  # scenes; words are few
UNSEEN = 900_000  # seeds for choices made while training; evaluation seeds start at 1,000,000
PIXELS = PixelRule(
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    scale=1 / 255,
)


class Trainer:
    """Holds what the stages share and runs them in order."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self.settings = settings
        settings.out.mkdir(parents=True, exist_ok=True)
        cache = settings.out / "scenes"
        self.device = torch.device(settings.device)
        if self.device.type == "cuda":  # the embedded model is small: TF32 is plenty
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.allow_tf32 = True
        whole = -(-settings.unseen // (2 * CHUNK)) * CHUNK  # they are rendered by the chunk
        self.unseen = load_scenes(cache, UNSEEN, UNSEEN + whole).first(settings.unseen)
        self.scenes = load_scenes(cache, 0, settings.scenes)
        self.tokenizer: PreTrainedTokenizerFast = build_tokenizer()
        self.model: LlavaForConditionalGeneration = lmm.build_lmm(self.tokenizer, settings.seed).to(
            self.device
        )
        # The engine's own pre-processing: what is trained on is what will be seen.
        self.config = ModelConfig(
            name="tabletop",
            family="llava",
            lmm=str(settings.out / "lmm"),
            heads=str(settings.out / "heads.safetensors"),
        )
        self.adapter = Llava(self.model, None, self.config, PIXELS)
        self.packer = turns.TurnPacker(self.tokenizer, self.adapter.grid**2)

    def pixels(self, rgb: NDArray[np.uint8]) -> torch.Tensor:
        """RGB uint8 [B, H, W, 3] to the vision encoder's pixels."""
        images = (np.ascontiguousarray(image) for image in rgb)
        return torch.cat([self.adapter.prepare(image)["pixel_values"] for image in images])

    def run_tower(self) -> None:
        """The vision encoder."""
        start = time.monotonic()
        self.model.requires_grad_(True)
        found = vision_encoder.train_vision_encoder(
            self.model.model.vision_tower,
            self.scenes,
            self.unseen,
            self.pixels,
            self.settings.plan("tower"),
        )
        torch.save(self.model.model.vision_tower.state_dict(), self.settings.out / "tower.pt")
        self._note("tower", found, start)

    def run_lmm(self) -> None:
        """The language model, over the frozen vision encoder."""
        start = time.monotonic()
        encoder = self.model.model.vision_tower
        encoder.load_state_dict(
            torch.load(self.settings.out / "tower.pt", self.device, weights_only=True)
        )
        encoder.requires_grad_(False).eval()
        data, unseen = self._features("train", mirror=True), self._features("unseen")
        checkpoint = self.settings.out / "lmm.ckpt"
        if newest(checkpoint) is None:
            labels = vision_encoder.all_token_labels(
                self.scenes.first(ALIGNED), self.adapter.side, encoder.config.patch_size
            )
            lmm.align(self.model, self.tokenizer, data, *labels, steps=self.settings.align_steps)
        for part in (self.model.model.multi_modal_projector, self.model.model.language_model):
            part.requires_grad_(True)
        self.model.lm_head.requires_grad_(True)
        found = lmm.train_lmm(
            self.model,
            self.packer,
            data,
            unseen,
            checkpoint,
            self.settings.plan("lmm"),
            evaluated=max(10, self.settings.unseen // 5),
        )
        self._note("lmm", found, start)
        export.save_lmm(self.model, self.tokenizer, PIXELS, self.settings.out / "lmm")

    def run_sight(self) -> None:
        """The refiner's image encoder, before any phrase."""
        start = time.monotonic()
        torch.manual_seed(self.settings.seed)
        refiner = MaskRefiner(heads.HEADS.refiner).to(self.device)
        found = refiner_encoder.train_refiner_encoder(
            refiner,
            self.scenes,
            self.unseen,
            self.settings.out / "sight.ckpt",
            self.settings.plan("sight"),
        )
        torch.save(refiner.image_encoder.state_dict(), self.settings.out / "sight.pt")
        self._note("sight", found, start)

    def run_readings(self) -> None:
        """What the LMM, as it was exported, makes of phrases."""
        self._use_exported()
        self._readings("train", self.settings.read_scenes)
        self._readings("unseen", self.settings.unseen)

    def run_heads(self) -> None:
        """Masks, on the frozen LMM as it was exported."""
        start = time.monotonic()
        self._use_exported()
        train = self._readings("train", self.settings.read_scenes)
        unseen = self._readings("unseen", self.settings.unseen)
        scenes = self.scenes.first(self.settings.read_scenes)
        adapter = Llava(self.model, None, self.config, PIXELS)
        torch.manual_seed(self.settings.seed)
        trained = Heads.create(adapter.shape, heads.HEADS).to(self.device)
        if self.settings.heads_start:
            heads.start_from(trained, load_heads(self.settings.heads_start))
        seen = self.settings.out / "sight.pt"
        if seen.exists():
            trained.mask_refiner.image_encoder.load_state_dict(
                torch.load(seen, self.device, weights_only=True)
            )
        found = heads.train_heads(
            trained,
            heads.PhraseSet(train, scenes),
            heads.PhraseSet(unseen, self.unseen),
            self.settings.out / "heads.ckpt",
            adapter.views(self.scenes.rgb.shape[1:3])[0],
            self.settings.plan("heads"),
        )
        found |= heads.calibrate(
            trained,
            heads.PhraseSet(unseen, self.unseen),
            adapter.views(self.scenes.rgb.shape[1:3])[0],
        )
        found |= self._train_selector(trained)
        self._note("heads", found, start)
        save_heads(
            self.settings.out / "heads.safetensors",
            trained.half().cpu(),
            {"command": "python -m training.embedded", "seed": str(self.settings.seed)},
        )

    def _train_selector(self, trained: Heads) -> dict[str, float]:
        """The phrase selector, which takes a minute."""
        if trained.phrase_selector is None:
            return {}
        count = min(self.settings.selector_scenes, len(self.scenes))
        answers = selector.read_answers(
            self.model, self.packer, self._features("train").first(count), self.settings.seed + 5
        )
        unseen = selector.read_answers(self.model, self.packer, self._features("unseen"), 6)
        found = selector.train_selector(
            trained.phrase_selector,
            answers,
            unseen,
            steps=self.settings.selector_steps,
            seed=self.settings.seed,
        )
        return {f"selector {name}": value for name, value in found.items()}

    def run_export(self) -> None:
        """The model directory."""
        export.write_model(self.settings.out, self.settings.out / "tabletop")
        log.info("model written to %s", self.settings.out / "tabletop")

    def _features(self, name: str, *, mirror: bool = False) -> lmm.FeatureSet:
        """Vision features of a scene set, from disk where they are there."""
        scenes = self.scenes if name == "train" else self.unseen
        path = self.settings.out / f"features_{name}.pt"
        if path.exists():
            features = torch.load(path, weights_only=True)
        else:
            features = self._encode(scenes, mirror=False)
            if mirror:
                features = torch.cat([features, self._encode(scenes, mirror=True)])
            torch.save(features, path)
        objects = scenes.objects
        if mirror:
            objects = (*objects, *(lmm.mirrored(o) for o in objects))
        return lmm.FeatureSet(features[: len(objects)].to(self.device), objects)

    @torch.no_grad()
    def _encode(self, scenes: SceneSet, *, mirror: bool) -> torch.Tensor:
        encoder = self.model.model.vision_tower.eval()
        parts = []

        def fifty(start: int) -> torch.Tensor:
            rgb = scenes.rgb[start : start + 50]
            return self.pixels(rgb[:, :, ::-1] if mirror else rgb)

        for _, pixels in ahead(fifty, range(0, len(scenes), 50), self.settings.workers):
            parts.append(encoder(pixels.to(self.device)).last_hidden_state.half().cpu())
        return torch.cat(parts)

    def _use_exported(self) -> None:
        model = LlavaForConditionalGeneration.from_pretrained(
            self.settings.out / "lmm", dtype=torch.float32
        )
        self.model = model.requires_grad_(False).to(self.device)
        words: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(self.settings.out / "lmm")
        self.packer = turns.TurnPacker(words, self.adapter.grid**2)

    def _readings(self, name: str, scenes: int) -> readings.ReadingSet:
        path = self.settings.out / f"readings_{name}.pt"
        if path.exists():
            return readings.ReadingSet(**torch.load(path, weights_only=True))
        found = readings.read(
            self.model,
            self.packer,
            self._features(name).first(scenes),
            self.adapter.grid,
            seed=len(name),
            workers=self.settings.workers,
        )
        torch.save(vars(found), path)
        return found

    def _note(self, stage: str, found: dict[str, float], start: float) -> None:
        minutes = round((time.monotonic() - start) / 60, 1)
        log.info("%s: %s in %.1f minutes", stage, found, minutes)
        # Names only: the record travels with the model, and where it was made means nothing there.
        settings = {k: v.name if isinstance(v, Path) else v for k, v in vars(self.settings).items()}
        record = {"minutes": minutes, "measured": found, "settings": settings}
        (self.settings.out / f"{stage}.json").write_text(json.dumps(record, indent=1) + "\n")
