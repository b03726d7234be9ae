"""What a model is made of, as a short text: another one after its weights were trained anew."""

from __future__ import annotations

from flmm_ros.engine.config import locate_model
from flmm_ros.engine.errors import ConfigError
from flmm_ros.engine.fingerprint import joint_fingerprint, model_fingerprint


def model_version(model: str) -> str:
    """The same wherever the files lie: of a model file, and of the files it names.

    Of a language model that comes from a hub, only its id and revision. A model that is not found
    has a version too: whoever loads it says what is wrong.
    """
    try:
        found = locate_model(model)
    except ConfigError:
        return joint_fingerprint({"model": model})
    return joint_fingerprint(model_fingerprint(found, with_weights=True))
