"""Train the embedded model from nothing; every stage resumes where it stopped.

    python -m training.embedded                          # all stages; a GPU where there is one
    python -m training.embedded --stage heads            # only the heads, on the LMM of --out
    python -m training.embedded --smoke --out out/smoke  # minutes: proves the pipeline, not the
    model

Stages: scenes (render), tower (eyes), lmm (language, from text only), sight (the refiner's own
eyes), readings (what the frozen LMM makes of phrases), heads (masks and score; LMM and eyes
frozen), export (the model directory).
Does not know about: how a stage works.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
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
from training.embedded.run import STAGES, Run, add_options, run_of
from training.embedded.stages import heads, lmm, readings
from training.embedded.stages import phrase_selector as selector
from training.embedded.stages import refiner_encoder as sight
from training.embedded.stages import vision_encoder as tower
from training.embedded.stages.batches import ahead
from training.embedded.stages.scenes import CHUNK, SceneSet, load_scenes

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

    def __init__(self, run: Run) -> None:
        self.run = run
        run.out.mkdir(parents=True, exist_ok=True)
        cache = run.out / "scenes"
        self.device = torch.device(run.device)
        if self.device.type == "cuda":  # the embedded model is small: TF32 is plenty
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.allow_tf32 = True
        whole = -(-run.unseen // (2 * CHUNK)) * CHUNK  # they are rendered by the chunk
        self.unseen = load_scenes(cache, UNSEEN, UNSEEN + whole).first(run.unseen)
        self.scenes = load_scenes(cache, 0, run.scenes)
        self.tokenizer: PreTrainedTokenizerFast = build_tokenizer()
        self.model: LlavaForConditionalGeneration = lmm.build_lmm(self.tokenizer, run.seed).to(
            self.device
        )
        # The engine's own pre-processing: what is trained on is what will be seen.
        self.config = ModelConfig(
            name="tabletop",
            family="llava",
            lmm=str(run.out / "lmm"),
            heads=str(run.out / "heads.safetensors"),
        )
        self.eyes = Llava(self.model, None, self.config, PIXELS)
        self.packer = turns.TurnPacker(self.tokenizer, self.eyes.grid**2)

    def pixels(self, rgb: NDArray[np.uint8]) -> torch.Tensor:
        """RGB uint8 [B, H, W, 3] to the tower's pixels."""
        images = (np.ascontiguousarray(image) for image in rgb)
        return torch.cat([self.eyes.prepare(image)["pixel_values"] for image in images])

    def run_tower(self) -> None:
        """Eyes."""
        start = time.monotonic()
        self.model.requires_grad_(True)
        found = tower.train_tower(
            self.model.model.vision_tower,
            self.scenes,
            self.unseen,
            self.pixels,
            self.run.pace("tower"),
        )
        torch.save(self.model.model.vision_tower.state_dict(), self.run.out / "tower.pt")
        self._note("tower", found, start)

    def run_lmm(self) -> None:
        """Language, over frozen eyes."""
        start = time.monotonic()
        eyes = self.model.model.vision_tower
        eyes.load_state_dict(torch.load(self.run.out / "tower.pt", self.device, weights_only=True))
        eyes.requires_grad_(False).eval()
        data, unseen = self._features("train", mirror=True), self._features("unseen")
        checkpoint = self.run.out / "lmm.ckpt"
        if not checkpoint.exists():
            labels = tower.all_token_labels(
                self.scenes.first(ALIGNED), self.eyes.side, eyes.config.patch_size
            )
            lmm.align(self.model, self.tokenizer, data, *labels, steps=self.run.align_steps)
        for part in (self.model.model.multi_modal_projector, self.model.model.language_model):
            part.requires_grad_(True)
        self.model.lm_head.requires_grad_(True)
        found = lmm.train_lmm(
            self.model,
            self.packer,
            data,
            unseen,
            checkpoint,
            self.run.pace("lmm"),
            examined=max(10, self.run.unseen // 5),
        )
        self._note("lmm", found, start)
        export.save_lmm(self.model, self.tokenizer, PIXELS, self.run.out / "lmm")

    def run_sight(self) -> None:
        """The refiner's image encoder, before any phrase."""
        start = time.monotonic()
        torch.manual_seed(self.run.seed)
        refiner = MaskRefiner(heads.HEADS.refiner).to(self.device)
        found = sight.train_sight(
            refiner,
            self.scenes,
            self.unseen,
            self.run.out / "sight.ckpt",
            self.run.pace("sight"),
        )
        torch.save(refiner.image_encoder.state_dict(), self.run.out / "sight.pt")
        self._note("sight", found, start)

    def run_readings(self) -> None:
        """What the LMM, as it was exported, makes of phrases."""
        self._use_exported()
        self._readings("train", self.run.read_scenes)
        self._readings("unseen", self.run.unseen)

    def run_heads(self) -> None:
        """Masks, on the frozen LMM as it was exported."""
        start = time.monotonic()
        self._use_exported()
        train = self._readings("train", self.run.read_scenes)
        unseen = self._readings("unseen", self.run.unseen)
        scenes = self.scenes.first(self.run.read_scenes)
        eyes = Llava(self.model, None, self.config, PIXELS)
        torch.manual_seed(self.run.seed)
        trained = Heads.create(eyes.shape, heads.HEADS).to(self.device)
        if self.run.heads_start:
            heads.start_from(trained, load_heads(self.run.heads_start))
        seen = self.run.out / "sight.pt"
        if seen.exists():
            trained.mask_refiner.image_encoder.load_state_dict(
                torch.load(seen, self.device, weights_only=True)
            )
        found = heads.train_heads(
            trained,
            heads.PhraseSet(train, scenes),
            heads.PhraseSet(unseen, self.unseen),
            self.run.out / "heads.ckpt",
            eyes.views(self.scenes.rgb.shape[1:3])[0],
            self.run.pace("heads"),
        )
        found |= heads.calibrate(
            trained,
            heads.PhraseSet(unseen, self.unseen),
            eyes.views(self.scenes.rgb.shape[1:3])[0],
        )
        found |= self._train_selector(trained)
        self._note("heads", found, start)
        save_heads(
            self.run.out / "heads.safetensors",
            trained.half().cpu(),
            {"command": "python -m training.embedded", "seed": str(self.run.seed)},
        )

    def _train_selector(self, trained: Heads) -> dict[str, float]:
        """The phrase selector, a matter of a minute beside the masks."""
        if trained.phrase_selector is None:
            return {}
        count = min(self.run.selector_scenes, len(self.scenes))
        answers = selector.read_answers(
            self.model, self.packer, self._features("train").first(count), self.run.seed + 5
        )
        unseen = selector.read_answers(self.model, self.packer, self._features("unseen"), 6)
        found = selector.train_selector(
            trained.phrase_selector,
            answers,
            unseen,
            steps=self.run.selector_steps,
            seed=self.run.seed,
        )
        return {f"selector {name}": value for name, value in found.items()}

    def run_export(self) -> None:
        """The model directory."""
        export.write_model(self.run.out, self.run.out / "tabletop")
        log.info("model written to %s", self.run.out / "tabletop")

    def _features(self, name: str, *, mirror: bool = False) -> lmm.FeatureSet:
        """Tower features of a scene set, from disk where they are there."""
        scenes = self.scenes if name == "train" else self.unseen
        path = self.run.out / f"features_{name}.pt"
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
        eyes = self.model.model.vision_tower.eval()
        parts = []

        def fifty(start: int) -> torch.Tensor:
            rgb = scenes.rgb[start : start + 50]
            return self.pixels(rgb[:, :, ::-1] if mirror else rgb)

        for _, pixels in ahead(fifty, range(0, len(scenes), 50), self.run.workers):
            parts.append(eyes(pixels.to(self.device)).last_hidden_state.half().cpu())
        return torch.cat(parts)

    def _use_exported(self) -> None:
        model = LlavaForConditionalGeneration.from_pretrained(
            self.run.out / "lmm", dtype=torch.float32
        )
        self.model = model.requires_grad_(False).to(self.device)
        words: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(self.run.out / "lmm")
        self.packer = turns.TurnPacker(words, self.eyes.grid**2)

    def _readings(self, name: str, scenes: int) -> readings.ReadingSet:
        path = self.run.out / f"readings_{name}.pt"
        if path.exists():
            return readings.ReadingSet(**torch.load(path, weights_only=True))
        found = readings.read(
            self.model,
            self.packer,
            self._features(name).first(scenes),
            self.eyes.grid,
            seed=len(name),
            workers=self.run.workers,
        )
        torch.save(vars(found), path)
        return found

    def _note(self, stage: str, found: dict[str, float], start: float) -> None:
        minutes = round((time.monotonic() - start) / 60, 1)
        log.info("%s: %s in %.1f minutes", stage, found, minutes)
        # Names only: the record travels with the model, and where it was made means nothing there.
        settings = {k: v.name if isinstance(v, Path) else v for k, v in vars(self.run).items()}
        record = {"minutes": minutes, "measured": found, "settings": settings}
        (self.run.out / f"{stage}.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Train the embedded tabletop model from nothing.",
        epilog="Run it again after an interruption: it goes on from its last checkpoint.",
    )
    add_options(parser)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are forked
    run = run_of(args)
    trainer = Trainer(run)
    for stage in args.stage or STAGES[1:]:
        if stage != "scenes":  # constructing the trainer renders them
            getattr(trainer, f"run_{stage}")()


if __name__ == "__main__":
    main()
