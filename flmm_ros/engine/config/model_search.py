"""Finds a model whatever way it is named: a model file, a known name, weights in a directory, or a
hub id.

Weights without a model file are a model too: the family follows from their `config.json`, prompt
and template from the model file of that family that comes with the package, and their own attention
heads point (training_free).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from pathlib import Path

from flmm_ros.engine.config.model_config import TRAINING_FREE, ModelConfig, load_model_config
from flmm_ros.engine.errors import ConfigError

log = logging.getLogger(__name__)
_HUB_ID = re.compile(r"^(?P<id>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def locate_model(model: str, *, download: bool = False) -> ModelConfig:
    """The description of a model.

    Args:
        model: a YAML file, a directory with model.yaml, a known name, a directory with weights, or
            a hub id "owner/name" or "owner/name@revision".
        download: whether the hub may be asked for what is not on this machine.

    Raises:
        ConfigError: nothing there, or weights of a family that no model file describes.
    """
    given = Path(model).expanduser()
    if (given / "config.json").is_file() and not (given / "model.yaml").is_file():
        beside = given.resolve()
        return _described(given.resolve().name, str(beside), "", given / "config.json", beside)
    hub = _HUB_ID.match(model)
    if hub is None or given.exists() or given.suffix in (".yaml", ".yml"):
        return find_model(model)
    return _from_hub(hub["id"], hub["revision"] or "main", download=download)


def find_model(model: str) -> ModelConfig:
    """Resolves what a user writes for `model`: a YAML file, a directory, or a name.

    Raises:
        ConfigError: nothing of that name; the message lists where it looked and what is there.
    """
    given = Path(model).expanduser()
    if given.suffix in (".yaml", ".yml"):
        return load_model_config(given)
    if (given / "model.yaml").is_file():
        return load_model_config(given / "model.yaml")
    roots = model_roots()
    for root in roots:
        for candidate in (
            root / "config" / "models" / f"{model}.yaml",
            root / "models" / model / "model.yaml",
        ):
            if model and candidate.is_file():
                return load_model_config(candidate)
    known = known_models()
    where = ", ".join(str(root) for root in roots)
    raise ConfigError(
        "model: expected a YAML file, a directory with model.yaml, or a known name, got "
        f"{model!r}; known: {', '.join(known) or 'none'} (looked under {where})"
    )


def model_roots() -> tuple[Path, ...]:
    """Where names are looked up: the repository or installed package, then every ROS share
    folder."""
    package = Path(__file__).resolve().parents[3]
    roots = [package.parent, package]
    # <prefix>/lib/python3.x/site-packages/flmm_ros -> <prefix>/share/flmm_ros, colcon's and pip's
    roots += [parent / "share" / "flmm_ros" for parent in package.parents]
    found = [
        root for root in roots if any((root / d).is_dir() for d in ("models", "config/models"))
    ]
    return tuple(found) or (package.parent,)


def known_models() -> list[str]:
    """Names of the models that come with the package or lie in a ROS share folder."""
    return sorted({name for root in model_roots() for name in _models_in(root)})


def _models_in(root: Path) -> list[str]:
    return [p.stem for p in (root / "config" / "models").glob("*.yaml")] + [
        p.parent.name for p in (root / "models").glob("*/model.yaml")
    ]


def _from_hub(hub_id: str, revision: str, *, download: bool) -> ModelConfig:
    from transformers.utils import cached_file  # only here: names and files need no transformers

    try:
        found = cached_file(hub_id, "config.json", revision=revision, local_files_only=not download)
    except OSError as error:
        first = str(error).splitlines()[0]
        advice = (
            "is the machine online, and HF_HUB_OFFLINE not set?"
            if download
            else "fetch it once with the parameter download (download:=true, --set download=true)"
        )
        raise ConfigError(
            f"model {hub_id!r}, revision {revision!r}: expected it on this machine, got: {first} "
            f"{advice}"
        ) from error
    if found is None:
        raise ConfigError(f"model {hub_id!r}: expected a config.json there, got none")
    commit = Path(found).parent.name
    if not _COMMIT.match(revision):
        better = f"{hub_id}@{commit}"
        log.warning(
            "%s: revision %r is not pinned and may change; use %s", hub_id, revision, better
        )
    home = Path.home() / ".cache" / "flmm_ros" / hub_id.replace("/", "--")
    return _described(hub_id, hub_id, commit, Path(found), home)


def _described(
    name: str, lmm: str, revision: str, config: Path, localisation_home: Path
) -> ModelConfig:
    """A model from the configuration of its weights."""
    try:
        family = str(json.loads(config.read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{config}: expected a transformers configuration with model_type, got: {error}"
        ) from error
    known = {found.family: found for found in map(find_model, known_models())}
    if family not in known:
        raise ConfigError(
            f"model {name!r}: expected weights of a family with a model file, got {family!r}; "
            f"known: {', '.join(sorted(known))}; write a model file (docs/models.md)"
        )
    return dataclasses.replace(
        known[family],
        name=name,
        lmm=lmm,
        revision=revision or "main",
        heads=TRAINING_FREE,
        localisation=str(localisation_home / "localisation.json"),
        sam="",
        score="mask_confidence",
    )
