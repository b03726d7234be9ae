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

"""A model of random weights that costs what real ones do, in proportion: for measuring pace only.

A LLaVA of 576 image tokens, a ViT as the refiner's image encoder, and small heads. With 6 phrases a
sample the frozen parts do 26 times the arithmetic of the heads' forward and backward; with
LLaVA-1.5-7B and SAM's ViT-L it is 51 times.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from flmm_ros.engine.config import find_model
from flmm_ros.engine.heads.checkpoint import save_heads
from flmm_ros.engine.heads.refiner_shape import RefinerShape, SamVitShape
from flmm_ros.engine.heads.trained import Heads, HeadsConfig, LmmShape

LAYERS, ATTENTION_HEADS, WIDTH = 8, 8, 512
SIDE_PX, PATCH_PX = 336, 14  # 24x24 image tokens, as LLaVA-1.5


def write_random_model(folder: Path) -> Path:
    """A model directory; the tokenizer is the embedded model's, so that made data can be read."""
    tokenizer = AutoTokenizer.from_pretrained(find_model("tabletop").lmm)
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=SIDE_PX,
        patch_size=PATCH_PX,
    )
    text = LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=1376,
        num_hidden_layers=LAYERS,
        num_attention_heads=ATTENTION_HEADS,
        num_key_value_heads=ATTENTION_HEADS,
        vocab_size=len(tokenizer),
        max_position_embeddings=1024,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(SIDE_PX // PATCH_PX) ** 2,
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder / "lmm")
    tokenizer.save_pretrained(folder / "lmm")
    CLIPImageProcessor(size={"shortest_edge": SIDE_PX}).save_pretrained(folder / "lmm")
    refiner = RefinerShape(
        hidden=32,
        input_size=512,
        decoder_heads=4,
        decoder_mlp=128,
        iou_hidden=32,
        encoder=SamVitShape(
            width=256, depth=8, heads=4, window=14, global_layers=(2, 5), mlp_width=1024
        ),
    )
    heads = Heads.create(
        LmmShape(LAYERS, ATTENTION_HEADS, WIDTH), HeadsConfig(base_channels=8, refiner=refiner)
    )
    save_heads(folder / "heads.safetensors", heads, {"made": "random weights, for measuring pace"})
    path = folder / "model.yaml"
    path.write_text("name: random\nfamily: llava\nlmm: lmm\nheads: heads.safetensors\n")
    return path
