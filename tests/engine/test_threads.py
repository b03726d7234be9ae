"""CPU threads: half of the cores, unless the settings or the environment say otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from flmm_ros.engine.runtime.threads import default_threads, use_threads


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8)])
def test_half_of_the_usable_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert default_threads() == threads
    use_threads(0)
    assert torch.get_num_threads() == threads


def test_settings_and_environment_have_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)
    use_threads(0)
    assert torch.get_num_threads() == 3
    use_threads(2)
    assert torch.get_num_threads() == 2
