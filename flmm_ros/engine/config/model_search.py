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

"""Finds a model whatever way it is named: a model file, a known name, weights in a directory, or a
hub id.

Weights without a model file are a model too. The family follows from their `config.json`; the
template is their own chat template's, else that of the packaged model file which fits their text
model; prompt and bounds are that file's; their own attention heads point (training_free).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flmm_ros.engine.config.chat_template import ReadFile, UnusableTemplateError, chat_format
from flmm_ros.engine.config.model_config import TRAINING_FREE, ModelConfig, load_model_config
from flmm_ros.engine.errors import ConfigError

log = logging.getLogger(__name__)
_HUB_ID = re.compile(r"^(?P<id>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_VICUNA_WORDS = range(32000, 32101)  # sizes of its vocabulary, with and without added tokens
# Packaged files whose family comes with several text models: the architecture they were written
# for, and sizes of the vocabulary where models with other templates share the architecture (Vicuna,
# Llama 3 and Yi are all "llama").
_TEXT_MODELS: dict[str, tuple[str, range | None]] = {
    "internvl3_8b": ("qwen2", None),
    "llava_1_5_7b": ("llama", _VICUNA_WORDS),
    "llava_next_mistral_7b": ("mistral", None),
    "llava_next_vicuna_7b": ("llama", _VICUNA_WORDS),
    "llava_onevision_qwen2_7b": ("qwen2", None),
}
# A family without a packaged file of its own: whose it shares, and what differs.
_SHARED_FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "idefics3": (
        "smolvlm",
        {
            "family": "idefics3",
            "template": "User:<image>{text}<end_of_utterance>\nAssistant:",
            "max_image_tokens": 17 * 13 * 13,  # the whole and 16 tiles
        },
    )
}


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
        return _described(
            beside.name, str(beside), "", beside / "config.json", beside, partial(_text_of, beside)
        )
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

    def read(name: str) -> str | None:
        try:
            path = cached_file(hub_id, name, revision=commit, local_files_only=not download)
        except OSError:  # not there
            return None
        return None if path is None else _text_of(Path(path).parent, name)

    return _described(hub_id, hub_id, commit, Path(found), home, read)


def _text_of(folder: Path, name: str) -> str | None:
    """A file's text; None where there is none, or none that can be read (loading says so)."""
    try:
        return (folder / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _described(
    name: str, lmm: str, revision: str, config: Path, localisation_home: Path, read: ReadFile
) -> ModelConfig:
    """A model from the configuration of its weights."""
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        family = str(content["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{config}: expected a transformers configuration with model_type, got: {error}"
        ) from error
    file = _with_template(name, _packaged(name, family), content, read)
    return dataclasses.replace(
        file,
        name=name,
        lmm=lmm,
        revision=revision or "main",
        heads=TRAINING_FREE,
        localisation=str(localisation_home / "localisation.json"),
        sam="",
        score="mask_confidence",
    )


def _packaged(name: str, family: str) -> list[ModelConfig]:
    """The packaged model files of a family.

    Raises:
        ConfigError: there is none.
    """
    files = [each for each in map(find_model, known_models()) if not Path(each.lmm).is_absolute()]
    if family in _SHARED_FILES:
        owner, differences = _SHARED_FILES[family]
        return [dataclasses.replace(each, **differences) for each in files if each.family == owner]
    found = [each for each in files if each.family == family]
    if not found:
        known = sorted({*_SHARED_FILES, *(each.family for each in files)})
        raise ConfigError(
            f"model {name!r}: expected weights of a family with a model file, got {family!r}; "
            f"known: {', '.join(known)}; write a model file (docs/models.md)"
        )
    return found


def _with_template(
    name: str, files: Sequence[ModelConfig], content: Mapping[str, Any], read: ReadFile
) -> ModelConfig:
    """The packaged file of a family that fits some weights, with the template that is theirs.

    content: the weights' config.json. Where neither a chat template nor the text model decides, one
    warning names what was chosen.
    """
    file, is_sure = _best_file(files, content)
    problem = ""
    try:
        own = chat_format(read, file.family)
    except UnusableTemplateError as error:
        own, problem = None, f"one that cannot be used, {error}"
    if own is not None:
        for each in files:
            if own.template.endswith(each.template):  # but for the start token
                return each  # its further turns are the original's
        log.info("%s: template of %s: %r", name, own.source, own.template)
        return dataclasses.replace(file, template=own.template, next_turn=own.next_turn)
    if problem or not is_sure:
        log.warning(
            "%s: expected a chat template beside the weights (chat_template.jinja, "
            "tokenizer_config.json), got %s; using that of %s, %r, which may not be this model's: "
            "if answers are odd, write a model file with the right one (docs/models.md)",
            name,
            problem or "none",
            file.name,
            file.template,
        )
    return file


def _best_file(
    files: Sequence[ModelConfig], content: Mapping[str, Any]
) -> tuple[ModelConfig, bool]:
    """The file that was written for the same text model, and whether its template surely fits."""
    text = content.get("text_config")
    text = text if isinstance(text, dict) else {}
    for file in files:
        if file.name not in _TEXT_MODELS:
            return file, True
        kind, words = _TEXT_MODELS[file.name]
        if text.get("model_type") == kind:
            return file, words is None or text.get("vocab_size") in words
    return files[-1], False
