"""Train the embedded model from nothing; every stage resumes where it stopped.

    python -m training.tabletop                          # all stages, about five hours on two cores
    python -m training.tabletop --stage heads            # only the heads, on the LMM of --out
    python -m training.tabletop --smoke --out out/smoke  # minutes: proves the pipeline, not the
    model

Stages: scenes (render), tower (eyes), lmm (language, from text only), sight (the refiner's own
eyes), heads (masks and score; LMM and eyes frozen), export (the model directory).
Does not know about: how a stage works.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from flmm_ros.engine.checkpoint import load_heads, save_heads
from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.heads import Heads
from flmm_ros.engine.lmm.llava import Llava, PixelRule
from flmm_ros.engine.mask_refiner import MaskRefiner
from training.tabletop import export, heads, lmm, readings, selector, sight, tower, turns
from training.tabletop.scenes import CHUNK, SceneSet, load_scenes

log = logging.getLogger("training.tabletop")
STAGES = ("scenes", "tower", "lmm", "sight", "heads", "export")
UNSEEN = 900_000  # seeds for choices made while training; evaluation seeds start at 1,000,000
PIXELS = PixelRule(
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    scale=1 / 255,
)


@dataclass(frozen=True)
class Run:
    """One training run: where it works, how long each stage is."""

    out: Path
    scenes: int
    unseen: int
    tower_steps: int
    lmm_steps: int
    lmm_start: Path | None
    read_scenes: int
    heads_steps: int
    seed: int
    heads_rate: float = 1.5e-3
    heads_start: Path | None = None
    sight_steps: int = 1_500
    align_steps: int = 500
    selector_scenes: int = 1000
    selector_steps: int = 1_500


class Trainer:
    """Holds what the stages share and runs them in order."""

    def __init__(self, run: Run) -> None:
        self.run = run
        run.out.mkdir(parents=True, exist_ok=True)
        cache = run.out / "scenes"
        whole = -(-run.unseen // CHUNK) * CHUNK  # they are rendered by the chunk
        self.unseen = load_scenes(cache, UNSEEN, UNSEEN + whole).first(run.unseen)
        self.scenes = load_scenes(cache, 0, run.scenes)
        self.tokenizer: PreTrainedTokenizerFast = turns.build_tokenizer()
        self.model: LlavaForConditionalGeneration = lmm.build_lmm(self.tokenizer, run.seed)
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
            steps=self.run.tower_steps,
        )
        torch.save(self.model.model.vision_tower.state_dict(), self.run.out / "tower.pt")
        self._note("tower", found, start)

    def run_lmm(self) -> None:
        """Language, over frozen eyes."""
        start = time.monotonic()
        eyes = self.model.model.vision_tower
        eyes.load_state_dict(torch.load(self.run.out / "tower.pt", weights_only=True))
        eyes.requires_grad_(False).eval()
        data, unseen = self._features("train", mirror=True), self._features("unseen")
        checkpoint = self.run.out / "lmm.ckpt"
        if self.run.lmm_start and not checkpoint.exists():
            start_model = LlavaForConditionalGeneration.from_pretrained(
                self.run.lmm_start, dtype=torch.float32
            )
            words = AutoTokenizer.from_pretrained(self.run.lmm_start)
            lmm.grow(self.model, self.tokenizer, start_model, words)
        elif not checkpoint.exists():
            labels = tower.all_token_labels(self.scenes, self.eyes.side, eyes.config.patch_size)
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
            steps=self.run.lmm_steps,
            examined=max(10, self.run.unseen // 5),
        )
        self._note("lmm", found, start)
        export.save_lmm(self.model, self.tokenizer, PIXELS, self.run.out / "lmm")

    def run_sight(self) -> None:
        """The refiner's image encoder, before any phrase."""
        start = time.monotonic()
        torch.manual_seed(self.run.seed)
        refiner = MaskRefiner(heads.HEADS.refiner)
        found = sight.train_sight(
            refiner,
            self.scenes,
            self.unseen,
            self.run.out / "sight.ckpt",
            steps=self.run.sight_steps,
        )
        torch.save(refiner.image_encoder.state_dict(), self.run.out / "sight.pt")
        self._note("sight", found, start)

    def run_heads(self) -> None:
        """Masks, on the frozen LMM as it was exported."""
        start = time.monotonic()
        model = LlavaForConditionalGeneration.from_pretrained(
            self.run.out / "lmm", dtype=torch.float32
        ).requires_grad_(False)
        self.model, grid = model, self.eyes.grid
        words: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(self.run.out / "lmm")
        self.packer = turns.TurnPacker(words, grid**2)
        count = min(self.run.read_scenes, len(self.scenes))
        scenes = self.scenes.first(count)
        train = self._readings("train", self._features("train").first(count), grid)
        unseen = self._readings("unseen", self._features("unseen"), grid)
        eyes = Llava(model, None, self.config, PIXELS)
        torch.manual_seed(self.run.seed)
        trained = Heads.create(eyes.shape, heads.HEADS)
        if self.run.heads_start:
            heads.grow(trained, load_heads(self.run.heads_start))
        seen = self.run.out / "sight.pt"
        if seen.exists():
            trained.mask_refiner.image_encoder.load_state_dict(torch.load(seen, weights_only=True))
        found = heads.train_heads(
            trained,
            heads.PhraseSet(train, scenes),
            heads.PhraseSet(unseen, self.unseen),
            self.run.out / "heads.ckpt",
            view=eyes.views(self.scenes.rgb.shape[1:3])[0],
            steps=self.run.heads_steps,
            seed=self.run.seed + 3,
            peak_rate=self.run.heads_rate,
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
            trained.half(),
            {"command": "python -m training.tabletop", "seed": str(self.run.seed)},
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
        return lmm.FeatureSet(features[: len(objects)], objects)

    @torch.no_grad()
    def _encode(self, scenes: SceneSet, *, mirror: bool) -> torch.Tensor:
        eyes = self.model.model.vision_tower.eval()
        parts = []
        for start in range(0, len(scenes), 50):
            rgb = scenes.rgb[start : start + 50]
            pixels = self.pixels(rgb[:, :, ::-1] if mirror else rgb)
            parts.append(eyes(pixels).last_hidden_state.half())
        return torch.cat(parts)

    def _readings(self, name: str, data: lmm.FeatureSet, grid: int) -> readings.ReadingSet:
        path = self.run.out / f"readings_{name}.pt"
        if path.exists():
            return readings.ReadingSet(**torch.load(path, weights_only=True))
        found = readings.read(self.model, self.packer, data, grid, seed=len(name))
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
    parser.add_argument("--out", type=Path, default=Path("out/tabletop"), help="working directory")
    parser.add_argument("--scenes", type=int, default=12_000, help="training scenes to render")
    parser.add_argument("--unseen", type=int, default=500, help="scenes to measure progress on")
    parser.add_argument("--tower-steps", type=int, default=900)
    parser.add_argument("--lmm-steps", type=int, default=5_500)
    parser.add_argument(
        "--lmm-start",
        type=Path,
        help="model directory (lmm/) to go on from, which may have fewer words and layers",
    )
    parser.add_argument("--sight-steps", type=int, default=1_500)
    parser.add_argument("--read-scenes", type=int, default=8_000, help="scenes the heads see")
    parser.add_argument("--heads-steps", type=int, default=1_500)
    parser.add_argument("--heads-rate", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--heads-start", type=Path, help="heads to go on from, instead of new ones")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only these stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a few steps of everything")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    run = Run(
        args.out, args.scenes, args.unseen, args.tower_steps, args.lmm_steps, args.lmm_start,
        args.read_scenes, args.heads_steps, args.seed, args.heads_rate, args.heads_start,
        args.sight_steps,
    )  # fmt: skip
    if args.smoke:
        run = Run(args.out, 250, 40, 2, 2, None, 10, 2, args.seed, align_steps=5, sight_steps=2,
                  selector_scenes=10, selector_steps=3)  # fmt: skip
    trainer = Trainer(run)
    for stage in args.stage or STAGES[1:]:
        if stage != "scenes":  # constructing the trainer renders them
            getattr(trainer, f"run_{stage}")()


if __name__ == "__main__":
    main()
