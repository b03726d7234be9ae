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

"""Where a run's numbers and pictures go: a log of lines, TensorBoard, Weights & Biases.

The log is the run's memory: after a restart it is cut back to the step the run goes on from, so
that it reads as if nothing had happened. Only the first process writes. accelerate's trackers
would need their raw writers for captions, for cutting TensorBoard back and for W&B's id: no gain.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flmm_ros.engine.errors import ConfigError
from training.disk import writing
from training.loop.pictures import Picture, small
from training.recipe import Recipe

LOG = "log.jsonl"
WANDB_ID = "wandb_id"


class Monitor:
    """Writes to all places of one run. `first`: the step it goes on from; later lines are cut."""

    def __init__(
        self, out: Path, first: int, *, tensorboard: bool, wandb: str, recipe: Mapping[str, Any]
    ) -> None:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        self._out = out
        self._log = _cut_log(out / LOG, first)
        self._board: Any = None
        if tensorboard:
            with writing(out / "tensorboard"):
                purge = first + 1 if first else None
                self._board = _summary_writer()(str(out / "tensorboard"), purge_step=purge)
        self._wandb = _wandb_run(wandb, out, recipe) if wandb else None

    def numbers(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Numbers after a step: group "train" or "validation"."""
        line = json.dumps({"step": step, "group": group, **values})
        with writing(self._out):
            self._log.write(line + "\n")
            self._log.flush()
            for name, value in values.items():
                if self._board is not None:
                    self._board.add_scalar(f"{group}/{name}", value, step)
        if self._wandb is not None:
            self._wandb.log({f"{group}/{name}": v for name, v in values.items()}, step=step)

    def picture(self, step: int, name: str, picture: Picture, caption: str) -> None:
        """A picture uint8 [H, W, 3], and what it shows."""
        picture = small(picture)
        if self._board is not None:
            with writing(self._out):
                self._board.add_image(name, picture, step, dataformats="HWC")
                self._board.add_text(f"{name}/phrases", caption, step)
        if self._wandb is not None:
            import wandb

            self._wandb.log({name: wandb.Image(picture, caption=caption)}, step=step)

    def close(self) -> None:
        """Ends all of them."""
        with writing(self._out):
            self._log.close()
            if self._board is not None:
                self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def read_log(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; one that was cut off is left out."""
    path = out / LOG
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def require_trackers(recipe: Recipe) -> None:
    """Says before a model is loaded what TensorBoard and Weights & Biases lack.

    Raises:
        ConfigError: a package is not installed, or nobody is logged in.
    """
    if recipe.tensorboard:
        _summary_writer()
    if recipe.wandb:
        wandb = _wandb_package(recipe.wandb)
        offline = os.environ.get("WANDB_MODE", "online") != "online"
        if not offline and not _wandb_key(wandb):
            raise ConfigError(
                f"wandb: expected a login for the project {recipe.wandb!r}, got none; run wandb "
                "login or set WANDB_API_KEY, or WANDB_MODE=offline to send the run later"
            )


def _cut_log(path: Path, first: int) -> Any:
    """The log without lines of steps after `first`, open for more."""
    kept = [line for line in read_log(path.parent) if line["step"] <= first]
    unfinished = path.with_suffix(".unfinished")
    with writing(path):
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in kept))
        unfinished.replace(path)
        return path.open("a", encoding="utf-8")


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "tensorboard: true needs the package tensorboard, which is not installed; run: pip "
            "install 'flmm_ros[train]', or set tensorboard=false"
        ) from error
    return SummaryWriter


def _wandb_package(project: str) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise ConfigError(
            f"wandb: {project!r} needs the package wandb, which is not installed; run: pip install "
            "wandb, or leave it empty"
        ) from error
    return wandb


def _wandb_key(wandb: Any) -> str | None:
    try:
        key: str | None = wandb.Api().api_key
    except wandb.errors.UsageError:
        return None
    return key


def _wandb_run(project: str, out: Path, recipe: Mapping[str, Any]) -> Any:
    """The one run of this folder: started again, it goes on under the same id, offline too."""
    path = out / WANDB_ID
    if not path.exists():
        with writing(path):
            path.write_text(f"{uuid.uuid4().hex[:12]}\n")
    wandb = _wandb_package(project)
    try:
        return wandb.init(
            project=project,
            dir=str(out),
            config=dict(recipe),
            id=path.read_text().strip(),
            name=out.name,
            resume="allow",
        )
    except wandb.errors.Error as error:
        raise ConfigError(
            f"wandb: expected to begin a run of project {project!r}, got: {error}; set "
            "WANDB_MODE=offline to send it later, or leave it empty"
        ) from error
