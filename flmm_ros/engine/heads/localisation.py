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

"""Localisation heads: the few attention heads of a language model that point, and their file.

For a model that nobody has trained heads for. `localisation_search.py` finds them,
`training_free.py` makes masks of what they look at.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from flmm_ros.engine.errors import CheckpointError
from flmm_ros.engine.heads.trained import LmmShape

log = logging.getLogger(__name__)
FORMAT = "flmm_ros.localisation/1"
LEAST_VOTES = 0.1  # a head that fewer of the pairs chose points by accident


@dataclass(frozen=True)
class Localisation:
    """The chosen heads of one language model.

    channels: of the maps [C, h, w], best first; channel = view * L * A + layer * A + head. votes:
    share of the pairs that voted for each. made: by what, in words.
    """

    lmm: LmmShape
    channels: tuple[int, ...]
    votes: tuple[float, ...]
    made: str = ""

    def names(self) -> list[str]:
        """The chosen heads for people: "view 1, layer 14, head 3"."""
        layers, heads = self.lmm.layers, self.lmm.heads
        return [
            f"view {c // (layers * heads)}, layer {c // heads % layers}, head {c % heads}"
            for c in self.channels
        ]

    @property
    def warning(self) -> str:
        """Why the heads are not to be relied on; empty where nothing speaks against them."""
        if max(self.votes, default=0.0) >= LEAST_VOTES:
            return ""
        return (
            f"localisation: expected a head that at least {LEAST_VOTES:.0%} of the image-text "
            f"pairs chose, got {max(self.votes, default=0.0):.0%} for the best, {self.names()[0]}; "
            "it may point by accident: give more photos, with phrases of what they show"
        )

    def save(self, path: Path) -> None:
        """Writes a small JSON file."""
        content = {"format": FORMAT, **dataclasses.asdict(self), "names": self.names()}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Localisation:
        """Reads what `save` wrote.

        Raises:
            CheckpointError: missing, or not such a file.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}")
            lmm = LmmShape(**{key: int(value) for key, value in content["lmm"].items()})
            channels = tuple(int(channel) for channel in content["channels"])
            votes = tuple(float(share) for share in content["votes"])
            found = cls(lmm, channels, votes, str(content["made"]))
            if len(channels) != len(votes):
                raise ValueError(f"{len(channels)} heads with {len(votes)} votes")
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{path}: expected the localisation heads of this model, got nothing there; make "
                "them once with: flmm localise MODEL IMAGES..."
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: expected a file of format {FORMAT!r}, got: {error}"
            ) from error
        if not found.channels or not all(0 <= c < lmm.map_channels for c in found.channels):
            raise CheckpointError(
                f"{path}: expected heads within {lmm.map_channels} maps, got {found.channels}"
            )
        if found.warning:
            log.warning("%s: %s", path, found.warning)
        return found
