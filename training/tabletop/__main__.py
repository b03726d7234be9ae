"""Train the embedded model from nothing; every stage resumes where it stopped.

    python -m training.tabletop --out out/tabletop            # all stages, about two hours on two cores
    python -m training.tabletop --stage lmm --lmm-steps 6000

Stages: scenes (render), tower (eyes), lmm (language, text only), heads (masks, LMM frozen).
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import LlavaForConditionalGeneration

from training.tabletop import lmm, tower
from training.tabletop.scenes import SceneSet, load_scenes

log = logging.getLogger("training.tabletop")
STAGES = ("scenes", "tower", "lmm", "heads")
UNSEEN = (900_000, 900_500)  # for choices made while training; never evaluation seeds
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def pixels(rgb: NDArray[np.uint8]) -> torch.Tensor:
    side = 256
    fill = (MEAN * 255).astype(np.uint8)
    out = np.empty((len(rgb), side, side, 3), np.uint8)
    for n, image in enumerate(rgb):
        h, w = image.shape[:2]
        s = side / max(h, w)
        nh, nw = int(h * s), int(w * s)
        out[n] = fill
        t, l = (side - nh) // 2, (side - nw) // 2
        out[n, t : t + nh, l : l + nw] = np.asarray(
            Image.fromarray(np.ascontiguousarray(image)).resize((nw, nh), Image.Resampling.BICUBIC)
        )
    return torch.from_numpy((out / np.float32(255) - MEAN) / STD).permute(0, 3, 1, 2).float()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the embedded tabletop model from nothing.")
    parser.add_argument("--out", type=Path, default=Path("out/tabletop"), help="working directory")
    parser.add_argument("--scenes", type=int, default=12_000, help="training scenes to render")
    parser.add_argument("--tower-steps", type=int, default=900)
    parser.add_argument("--lmm-steps", type=int, default=4_000)
    parser.add_argument("--stage", choices=STAGES, action="append", help="only these stages")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    stages = args.stage or STAGES
    args.out.mkdir(parents=True, exist_ok=True)
    cache = args.out / "scenes"
    unseen = load_scenes(cache, *UNSEEN)
    scenes = load_scenes(cache, 0, args.scenes)
    tokenizer = lmm.build_tokenizer()
    model = lmm.build_lmm(tokenizer, args.seed)
    packer = lmm.TurnPacker(tokenizer, 256)
    if "tower" in stages:
        run_tower(args, model, scenes, unseen)
    if "lmm" in stages:
        run_lmm(args, model, tokenizer, packer, scenes, unseen)


def run_tower(args: argparse.Namespace, model: LlavaForConditionalGeneration, scenes: SceneSet, unseen: SceneSet) -> None:
    start = time.time()
    found = tower.train_tower(
        model.model.vision_tower, scenes, unseen, pixels, steps=args.tower_steps
    )
    log.info("tower %s in %.0f s", found, time.time() - start)
    torch.save(model.model.vision_tower.state_dict(), args.out / "tower.pt")
    (args.out / "tower.json").write_text(json.dumps(found))


@torch.no_grad()
def features_of(model, scenes: SceneSet, mirror: bool) -> torch.Tensor:
    model.model.vision_tower.eval()
    out = []
    for i in range(0, len(scenes), 50):
        rgb = scenes.rgb[i : i + 50]
        out.append(model.model.vision_tower(pixels(rgb[:, :, ::-1] if mirror else rgb)).last_hidden_state.half())
    return torch.cat(out)


def feature_set(args, model, scenes: SceneSet, name: str, mirror: bool) -> lmm.FeatureSet:
    path = args.out / f"features_{name}.pt"
    if path.exists():
        features = torch.load(path, weights_only=True)
    else:
        features = features_of(model, scenes, False)
        if mirror:
            features = torch.cat([features, features_of(model, scenes, True)])
        torch.save(features, path)
    objects = scenes.objects
    if mirror:
        objects = (*objects, *(lmm.mirrored(o) for o in objects))
    return lmm.FeatureSet(features, objects)


def run_lmm(args, model, tokenizer, packer, scenes: SceneSet, unseen: SceneSet) -> None:
    model.model.vision_tower.load_state_dict(torch.load(args.out / "tower.pt", weights_only=True))
    model.model.vision_tower.requires_grad_(False)
    data = feature_set(args, model, scenes, "train", True)
    test = feature_set(args, model, unseen, "unseen", False)
    log.info("features %s", tuple(data.features.shape))
    if not (args.out / "lmm.ckpt").exists():
        kinds, colors = tower.all_token_labels(scenes, 256, 16)
        lmm.align(model, tokenizer, data, kinds, colors)
    start = time.time()
    found = lmm.train_lmm(model, packer, data, test, args.out / "lmm.ckpt", steps=args.lmm_steps)
    log.info("lmm %s in %.0f s", found, time.time() - start)
    model.half().save_pretrained(args.out / "lmm")
    tokenizer.save_pretrained(args.out / "lmm")
    (args.out / "lmm.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
