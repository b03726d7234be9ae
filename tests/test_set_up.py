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

"""The set-up's own parts: what is missing is named, wheels are repaired, runs keep apart."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import fix_wheels
import own_domain
import progress
import pytest
import set_up
import system_check

ROOT = Path(__file__).resolve().parents[1]


def test_nothing_is_missing_on_a_complete_system(monkeypatch):
    monkeypatch.setattr(system_check.shutil, "which", lambda name: f"/usr/bin/{name}")
    missing = system_check.missing_from_system(has_distro=True)
    assert [item for item in missing if "headers" not in item.what] == []


def test_everything_missing_is_one_line_with_one_command(monkeypatch, tmp_path):
    monkeypatch.setattr(system_check.shutil, "which", lambda name: None)
    monkeypatch.setattr(system_check.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    monkeypatch.setattr(system_check.importlib.util, "find_spec", lambda name: None)
    sentence = system_check.sentence(system_check.missing_from_system(has_distro=True))
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert "\n" not in sentence
    assert "a C++ compiler" in sentence and "cmake" in sentence and "headers" in sentence
    assert sentence.endswith(
        f"sudo apt-get install -y g++ gcc cmake make {python}-dev {python}-venv "
        "python3-colcon-common-extensions"
    )


@pytest.mark.parametrize("version", ["310", "311", "313"])
def test_wheels_get_this_machines_include_folders(tmp_path, version, monkeypatch):
    builder = f"/opt/python/cp{version}-cp{version}"
    python = f"python3.{version[1:]}"
    folder = tmp_path / "share" / "std_msgs" / "cmake"
    folder.mkdir(parents=True)
    file = folder / "export_std_msgs__rosidl_generator_pyExport.cmake"
    file.write_text(
        f'"{builder}/include/{python};{builder}/lib/{python}/site-packages/numpy/_core/include"\n'
    )
    answer = subprocess.CompletedProcess([], 0, stdout="/usr/include/here\n/venv/numpy/include\n")
    monkeypatch.setattr(fix_wheels.subprocess, "run", lambda *a, **k: answer)
    assert fix_wheels.repair(tmp_path) == 1
    assert file.read_text() == '"/usr/include/here;/venv/numpy/include"\n'
    assert fix_wheels.repair(tmp_path) == 0, "a repaired file must be left alone"


def _run_in_own_domain(env: dict[str, str]) -> subprocess.Popen[str]:
    code = "import os; print(os.environ['ROS_DOMAIN_ID'], flush=True); input()"
    command = [sys.executable, ROOT / "scripts" / "own_domain.py", sys.executable, "-c", code]
    return subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_runs_get_different_domains_and_give_them_back():
    env = {k: v for k, v in os.environ.items() if k != "ROS_DOMAIN_ID"}
    runs = [_run_in_own_domain(env) for _ in range(3)]
    try:
        domains = [int(run.stdout.readline()) for run in runs]
    finally:
        for run in runs:
            run.communicate("\n", timeout=20)
    assert len(set(domains)) == 3
    assert set(domains) <= set(own_domain.DOMAINS)
    with socket.socket() as port:
        port.bind(("", own_domain.FIRST_PORT + domains[0]))


def test_a_given_domain_is_kept():
    run = _run_in_own_domain({**os.environ, "ROS_DOMAIN_ID": "217"})
    assert run.communicate("\n", timeout=20)[0].strip() == "217"


def test_a_failed_step_shows_the_end_of_its_log_and_no_noise(tmp_path, capsys):
    code = (
        "print('WARNING: Location x is ignored: it is neither a file nor a directory.');"
        "print('the reason'); raise SystemExit(3)"
    )
    with pytest.raises(progress.StepFailed, match=r"a step failed \(exit status 3\).*a-step\.log"):
        progress.run_step("1/2", "a step", [sys.executable, "-c", code], tmp_path, os.environ)
    shown = capsys.readouterr().out
    assert "    the reason" in shown
    assert "is ignored" not in shown


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(progress.StepFailed, match="cannot start no-such-program"):
        progress.run_step("1/2", "a step", ["no-such-program"], tmp_path, os.environ)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A checkout without anything in it but what the keys are made from."""
    for name in set_up.WHEELS_PIP_NEEDS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(set_up, "ROOT", tmp_path)
    monkeypatch.setattr(set_up, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(set_up, "STAMPS", tmp_path / ".venv" / "stamps")
    (tmp_path / ".venv").mkdir()
    return tmp_path


def test_a_changed_pin_undoes_the_stamp(scratch):
    plan = set_up.Plan("")
    set_up.mark_done("environment", plan.environment_key)
    assert set_up.is_done("environment", plan.environment_key)
    (scratch / "requirements" / "ros.txt").write_text("other")
    assert not set_up.is_done("environment", plan.environment_key)


def test_wheels_do_not_matter_to_a_distribution(scratch):
    before = set_up.Plan("jazzy").environment_key
    (scratch / "requirements" / "ros.txt").write_text("other")
    assert set_up.Plan("jazzy").environment_key == before
    assert set_up.Plan("humble").environment_key != before


def test_a_folder_that_is_no_environment_is_not_removed(scratch):
    (scratch / ".venv" / "thesis.tex").write_text("years of work")
    with pytest.raises(set_up.StepFailed, match="not a virtual environment; move it away"):
        set_up.create_venv(set_up.Plan(""))
    assert (scratch / ".venv" / "thesis.tex").exists()


def test_pins_are_exact():
    for name in ("python.txt", "ros.txt"):
        for line in (ROOT / "requirements" / name).read_text().splitlines():
            if line and not line.startswith("#") and line != "setuptools<80":
                assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9.]+(; python_version .+)?", line), line
