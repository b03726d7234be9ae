"""What a model is made of, as a short text: another one after its weights were trained anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from flmm_ros.engine.config import find_model
from flmm_ros.engine.errors import ConfigError

_ENDS_BYTES = 8 << 20  # of a larger file, as much of its beginning and of its end


def model_version(model: str) -> str:
    """The same wherever the files lie, for a model file and the files it names.

    Of a language model that comes from a hub, only its id and revision. A model that is not found
    has a version too: whoever loads it says what is wrong.
    """
    digest = hashlib.sha256(model.encode())
    for name, path in sorted(_files(model, digest)):
        digest.update(f"{name} {path.stat().st_size} ".encode())
        with path.open("rb") as stream:
            digest.update(stream.read(_ENDS_BYTES))
            stream.seek(max(_ENDS_BYTES, path.stat().st_size - _ENDS_BYTES))
            digest.update(stream.read(_ENDS_BYTES))
    return digest.hexdigest()[:16]


def _files(model: str, digest: hashlib._Hash) -> Iterator[tuple[str, Path]]:
    """Names and places of the files; what the model file says besides goes into the digest."""
    given = Path(model).expanduser()
    if (given / "config.json").is_file():
        yield from _below(given)
        return
    try:
        found = find_model(model)
    except ConfigError:
        return
    content = asdict(found)
    for field in ("lmm", "heads", "localisation", "sam"):
        path = Path(str(content[field]))
        if content[field] and path.is_absolute():
            content[field] = path.name
            yield from _below(path)
    digest.update(json.dumps(content, sort_keys=True, default=str).encode())


def _below(path: Path) -> Iterator[tuple[str, Path]]:
    """A file, or all files of a folder, by their names in it."""
    if path.is_file():
        yield path.name, path
    for file in path.rglob("*"):
        if file.is_file():
            yield str(file.relative_to(path)), file
