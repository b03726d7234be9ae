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

"""Small tokenizers with the special tokens and flags of real ones, built in a moment."""

from __future__ import annotations

import json

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

TEXT = (
    "user assistant system pick up the red mug and the blue cube, please. what is on the left? " * 3
)


def qwen_like() -> PreTrainedTokenizerFast:
    """Byte-level BPE; control tokens beyond the vocabulary, some of them not special (<think>)."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\r\n\w]?\w+|\s*[\r\n]+|\s+|[^\s\w]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    made.train_from_iterator([TEXT + '"The mug"' * 4], trainer)
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>")
    special += ("<|vision_end|>", "<|image_pad|>")
    made.add_special_tokens([AddedToken(each, normalized=False) for each in special])
    made.add_tokens([AddedToken(each, normalized=False) for each in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>")


def gemma_like() -> PreTrainedTokenizerFast:
    """BPE with a mark for blanks; control tokens within the vocabulary, runs of line breaks and
    words as added tokens, a start token before every text."""
    control = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    control += ["<start_of_image>", "<end_of_image>", "<image_soft_token>", "<table>"]
    made = Tokenizer(models.BPE(byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=120, special_tokens=control))
    made.model = _with_bytes(made)
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    made.add_tokens([AddedToken("\n" * n, normalized=False) for n in range(1, 5)])
    made.add_tokens([AddedToken("gripper", normalized=False)])
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", control.index("<bos>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<bos>", eos_token="<eos>")


def vicuna_like() -> PreTrainedTokenizerFast:
    """Pieces with a mark for blanks, tokens that match after normalisation (NFKC makes other forms
    of the same letters equal), and ones that swallow the blanks beside them."""
    made = Tokenizer(models.BPE(byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>", "<s>", "</s>"])
    made.train_from_iterator([TEXT, "USER: ASSISTANT: [INST] [/INST]"], trainer)
    made.model = _with_bytes(made)
    made.add_special_tokens(
        [AddedToken("</s>", normalized=True, rstrip=True), AddedToken("<image>", lstrip=True)]
    )
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")


def _with_bytes(trained: Tokenizer) -> models.BPE:
    """The trained pieces and one for each byte, which letters that were never seen fall back to."""
    state = json.loads(trained.to_str())["model"]
    words = state["vocab"]
    words |= {f"<0x{i:02X}>": len(words) + i for i in range(256)}
    merges = [tuple(pair) for pair in state["merges"]]
    return models.BPE(words, merges, byte_fallback=True)
