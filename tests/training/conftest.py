"""A tiny model and tiny data on disk, made once for all tests of the loop and the feature cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_training


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory; see tiny_training."""
    return tiny_training.write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def tiny_data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RefCOCO and gRefCOCO of a few small scenes."""
    return tiny_training.write_data(tmp_path_factory.mktemp("data"))
