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

"""Programs, verbs, targets and files that pages and comments name are there."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from flmm_ros.cli.main import VERBS

ROOT = Path(__file__).resolve().parents[2]
OURS = ("flmm_ros", "flmm_sim", "training", "benchmarks", "examples", "scripts")
PATTERNS = ("*.md", "*.py", "*.sh", "*.yaml", "Makefile", "bin/*", "msg/*", "action/*")
PLACES = "|".join(
    (*OURS, "tests", "config", "models", "launch", "docs", "engine", "ros", "console")
)


def _pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", *PATTERNS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    here = Path(__file__).relative_to(ROOT)
    return [ROOT / name for name in listed.stdout.split() if Path(name) != here]


def _is_program(module: str) -> bool:
    """Whether `python -m module` would run something of ours."""
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return False
    if found is None:
        return False
    if found.submodule_search_locations is not None:
        return any((Path(f) / "__main__.py").is_file() for f in found.submodule_search_locations)
    return found.origin is not None and '"__main__"' in Path(found.origin).read_text()


def _absent(text: str, *, is_page: bool) -> Iterator[str]:
    """What a text names and the repository lacks; files and targets count in pages only."""
    for module in re.findall(r"python3? -m ([a-z_]+(?:\.[a-z_]+)*)", text):
        if module.split(".")[0] in OURS and not _is_program(module):
            yield f"python -m {module}"
    for name in re.findall(r"ros2 run flmm_ros (\w+)", text):
        if not (ROOT / "bin" / name).is_file():
            yield f"ros2 run flmm_ros {name}"
    for verb in re.findall(r"(?:`|^|flmm_ros )flmm ([a-z]+)", text, re.MULTILINE):
        if verb not in VERBS:
            yield f"flmm {verb}"
    if not is_page:
        return
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"`make ([a-z]+)", text):
        if target not in targets:
            yield f"make {target}"
    for name in re.findall(rf"`((?:{PLACES})/[\w./-]+)`", text):
        is_pattern = "NAME" in name or re.match(r"flmm_ros/(?:msg|action)/", name)
        if not is_pattern and not any((base / name).exists() for base in (ROOT, ROOT / "flmm_ros")):
            yield name


def test_what_is_named_is_there() -> None:
    absent = {
        str(page.relative_to(ROOT)): found
        for page in _pages()
        if (found := list(_absent(page.read_text("utf-8"), is_page=page.suffix == ".md")))
    }
    assert not absent


def test_what_is_absent_is_found() -> None:
    text = "`flmm nonsense` `make nothing` `engine/nowhere.py` python -m training.nobody\n"
    text += (
        "ros2 run flmm_ros ground x, `make test`, `flmm ask`, python -m training.train, `ros/node`"
    )
    found = ["python -m training.nobody", "ros2 run flmm_ros ground", "flmm nonsense"]
    assert list(_absent(text, is_page=True)) == [*found, "make nothing", "engine/nowhere.py"]
