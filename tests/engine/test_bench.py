"""The benchmark runs and measures what it says, on a model small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flmm_ros.tools import bench


def test_three_ways_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = lambda name, args: bench.measure_peak_mib(bench.build(args.layers, args.width), name)  # noqa: E731
    monkeypatch.setattr(bench, "peak_in_child", here)  # a process each takes long to start
    arguments = ["--repetitions", "1", "--layers", "2", "--width", "64"]
    assert bench.main([*arguments, "--json", str(tmp_path / "bench.json")]) == 0
    assert "recording costs" in capsys.readouterr().out
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [r["name"] for r in rows] == ["plain SDPA", "recording rows", "eager, all kept"]
    assert rows[0]["ratio"] == 1.0
