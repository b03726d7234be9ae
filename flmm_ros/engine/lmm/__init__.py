"""Large multimodal models, one small file a family; `load_lmm` picks the family by name.

Does not know about: heads, scenes, commands.
"""

from __future__ import annotations

from transformers.utils import logging as transformers_logging

from flmm_ros.engine.config import ModelConfig
from flmm_ros.engine.lmm.base import Lmm, LmmReading
from flmm_ros.engine.lmm.llava import Llava
from flmm_ros.engine.lmm.llava_next import LlavaNext
from flmm_ros.engine.lmm.loading import LoadOptions
from flmm_ros.engine.lmm.prefix import Prefix
from flmm_ros.engine.types import ConfigError

FAMILIES: dict[str, type[Lmm]] = {"llava": Llava, "llava_next": LlavaNext}

__all__ = ["FAMILIES", "Lmm", "LmmReading", "LoadOptions", "Prefix", "load_lmm"]


def load_lmm(config: ModelConfig, options: LoadOptions) -> Lmm:
    """Loads a frozen language model of the family that the model file names.

    Raises:
        ConfigError: a family that is not supported.
        CheckpointError: weights or configuration missing or damaged.
    """
    if config.family not in FAMILIES:
        raise ConfigError(
            f"model {config.name!r}: expected a supported LMM family, got {config.family!r}; "
            f"supported: {', '.join(sorted(FAMILIES))}"
        )
    transformers_logging.disable_progress_bar()  # the node's log is no terminal
    return FAMILIES[config.family].load(config, options)
