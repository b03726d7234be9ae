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

"""The demo as a user runs it: two processes, all commands, a table and a page."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from examples.demo.scenario import SEEDS, commands_for
from flmm_sim.tabletop.tabletop import Tabletop

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "tabletop" / "model.yaml"


def environment() -> dict[str, str]:
    """Another domain than the other tests' nodes: the demo's node has the same name as theirs."""
    domain = (int(os.environ["ROS_DOMAIN_ID"]) + 50) % 101
    return {**os.environ, "ROS_DOMAIN_ID": str(domain), "COLUMNS": "160"}


def demo(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "examples.demo", *arguments],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_with(words: str) -> list[str]:
    """Command lines of running processes that hold `words`."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        if words in line:
            lines.append(line)
    return lines


@pytest.mark.skipif(not MODEL.is_file(), reason=f"there is no {MODEL}")
def test_the_whole_path(tmp_path: Path, world: Tabletop) -> None:
    picture = tmp_path / "docs" / "demo.png"
    process = demo("--out", str(tmp_path / "demo"), "--save-picture", str(picture))
    output, _ = process.communicate(timeout=170)
    assert process.returncode == 0, output
    commands = [t.command for seed in SEEDS for t in commands_for(world.render(seed))]
    assert f"of {len(commands)} commands right" in output
    page = (tmp_path / "demo" / "index.html").read_text(encoding="utf-8")
    assert page.count('<section class="card') == len(commands)
    for words in (
        "UNKNOWN_WORD",
        "zebra",
        "EMPTY_COMMAND",
        "refused as it should",
        "attention for",
    ):
        assert words in page, words
    assert picture.read_bytes().startswith(b"\x89PNG")
    for name in ("camera", "grounding_node"):
        assert "Traceback" not in (tmp_path / "demo" / f"{name}.log").read_text()


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no_such_model"
    process = demo("--model", str(missing), "--out", str(tmp_path / "demo"))
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 1, output
    assert "did not load its model" in output
    assert "no_such_model" in output.replace("\n", "")
    assert "--- end of" in output
    assert not (tmp_path / "demo" / "index.html").exists()
    assert processes_with(str(missing)) == []


def test_told_to_end_it_takes_its_processes_along(tmp_path: Path) -> None:
    missing = tmp_path / "ended_early"
    process = demo("--model", str(missing), "--out", str(tmp_path / "demo"))
    log = tmp_path / "demo" / "grounding_node.log"
    end_s = time.monotonic() + 60
    while not log.is_file() and process.poll() is None:
        assert time.monotonic() < end_s
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert processes_with(str(missing)) == []
