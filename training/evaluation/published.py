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

"""Scores that others published, in percent, to stand beside ours. None of them was measured here.

Sources: F-LMM (Wu et al., CVPR 2025) and the tables it quotes for rivals; HiMTok and Sa2VA from
their own papers; localisation heads from Kang et al., CVPR 2025. RefCOCO's splits are val.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedScore:
    """What a method reached on one split, in percent by metric; `note` where that needs words."""

    method: str
    data: str
    split: str
    percent: Mapping[str, float]
    note: str = ""


REFCOCO = ("refcoco", "refcoco+", "refcocog")
_FROZEN = {  # cIoU on RefCOCO, RefCOCO+, RefCOCOg; PNG average recall: all, thing, stuff
    "F-LMM DeepSeek-VL-1.3B": ((75.0, 62.8, 68.2), (64.9, 63.4, 68.3)),
    "F-LMM LLaVA-1.5-7B": ((75.2, 63.7, 67.1), (64.8, 63.4, 68.2)),
    "F-LMM DeepSeek-VL-7B": ((76.1, 66.4, 70.1), (65.7, 64.5, 68.5)),
    "F-LMM LLaVA-Next-Mistral-7B": ((75.7, 66.5, 70.1), (66.5, 65.4, 69.1)),
    "F-LMM MGM-HD-7B": ((76.1, 65.2, 68.5), (66.7, 65.6, 69.1)),
}
_FINE_TUNED = {  # cIoU on RefCOCO, RefCOCO+, RefCOCOg
    "LISA-7B (fine-tuned)": (74.9, 65.1, 67.9),
    "GLaMM (fine-tuned)": (79.5, 72.6, 74.2),
    "OMG-LLaVA (fine-tuned)": (77.8, 69.3, 73.0),
    "Sa2VA-8B (fine-tuned)": (82.6, 78.0, 80.3),
    "HiMTok (fine-tuned)": (85.0, 79.7, 80.0),
}
_REASONING_NOTE = "long queries; split as in the paper's table"


def _all() -> tuple[PublishedScore, ...]:
    found = []
    for method, (referring, narrative) in _FROZEN.items():
        recalls = dict(zip(("AR", "AR thing", "AR stuff"), narrative, strict=True))
        found.append(PublishedScore(method, "png", "val", recalls))
        found += _referring(method, referring)
    for method, referring in _FINE_TUNED.items():
        found += _referring(method, referring)
    free = "Localisation heads, LLaVA-1.5-7B (training-free)"
    found.append(PublishedScore(free, "refcoco", "val", {"cIoU": 74.2}))
    for method, percent in (("F-LMM", 49.1), ("LISA (quoted by F-LMM)", 36.6)):
        scores = {"gIoU long": percent}
        found += [
            PublishedScore(method, "reasonseg", split, scores, _REASONING_NOTE)
            for split in ("val", "test")
        ]
    return tuple(found)


def _referring(method: str, percent: tuple[float, float, float]) -> list[PublishedScore]:
    return [
        PublishedScore(method, data, "val", {"cIoU": value})
        for data, value in zip(REFCOCO, percent, strict=True)
    ]


PUBLISHED = _all()


def published_for(data: str, split: str) -> tuple[PublishedScore, ...]:
    """What was published for one split of a data set; nothing for most."""
    return tuple(p for p in PUBLISHED if (p.data, p.split) == (data, split))
