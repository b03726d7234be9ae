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

"""Makes a checkout ready to run: virtual environment, Python packages, ROS 2, messages, proof.

`make setup` calls it through set_up.sh; a second run finds nothing to do and takes half a second.
Where a ROS distribution is sourced, its rclpy and colcon are used; elsewhere ROS 2 comes as wheels.
Only the standard library is used: nothing is installed yet.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import fix_wheels
import system_check
from progress import StepFailed, run_step

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOGS = ROOT / "log" / "setup"
STAMPS = VENV / "flmm_ros_setup"  # in the environment, so that removing it forgets them

SYSTEM_PIP_NEEDS = ("requirements/python.txt",)
WHEELS_PIP_NEEDS = (*SYSTEM_PIP_NEEDS, "requirements/ros.txt", "scripts/fix_wheels.py")
BUILD_NEEDS = ("package.xml", "CMakeLists.txt", "msg", "action", "bin")
DATA = ("launch", "config", "models")  # installed as links: edits need no build, new files do
LINKED = (*BUILD_NEEDS, *DATA, "flmm_ros", "flmm_sim", "requirements")

# Importing them is the only proof that an environment is whole: an interrupted pip leaves
# partial installs.
PROOF = "import cv2, numpy, pybullet, rclpy, rosbags, safetensors, torch, transformers"
MESSAGE_PROOF = (
    "from flmm_ros.msg import GroundedAnswer; from flmm_ros.action import Ground; GroundedAnswer()"
)


@dataclass(frozen=True)
class Plan:
    """Where ROS 2 comes from: the name of a sourced distribution, or "" for wheels."""

    distro: str

    @property
    def environment_key(self) -> str:
        """What `.venv` is made from."""
        needs = SYSTEM_PIP_NEEDS if self.distro else WHEELS_PIP_NEEDS
        return f"{self.distro} {digest_of(needs)}"

    @property
    def messages_key(self) -> str:
        """What `install` is made from. Of the data only the names count."""
        files = (str(f) for folder in DATA for f in sorted((ROOT / folder).rglob("*")))
        names = "\n".join(f for f in files if "__pycache__" not in f)
        build = digest_of((*BUILD_NEEDS, "scripts/set_up.py"))
        return f"{self.environment_key} {build} {hashlib.sha256(names.encode()).hexdigest()}"


def make_plan() -> Plan:
    """A distribution counts when it is sourced and this very Python can import its rclpy."""
    distro = os.environ.get("ROS_DISTRO", "")
    if distro and not succeeds([sys.executable, "-c", "import rclpy"], dict(os.environ)):
        print(f"set-up: ROS_DISTRO is {distro}, but {sys.executable} has no rclpy; using wheels")
        distro = ""
    return Plan(distro)


def succeeds(command: list[str], env: dict[str, str]) -> bool:
    """Whether a command ends well; run outside the checkout, where it could import our names."""
    return subprocess.run(command, cwd=LOGS, env=env, capture_output=True).returncode == 0


def digest_of(parts: tuple[str, ...]) -> str:
    """A digest of the named files and folders, of the place they are in and of this Python."""
    identity = f"{ROOT} {sys.version} {os.path.realpath(sys.executable)}"
    digest = hashlib.sha256(identity.encode())
    for part in parts:
        path = ROOT / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def is_done(step: str, key: str) -> bool:
    """Whether a step was proven with exactly these inputs."""
    stamp = STAMPS / step
    return stamp.is_file() and stamp.read_text() == key


def mark_done(step: str, key: str) -> None:
    """Written after the proof, never before: an interrupted step is simply repeated."""
    STAMPS.mkdir(exist_ok=True)
    (STAMPS / step).write_text(key)


def environment(plan: Plan) -> dict[str, str]:
    """For every child: the virtual environment, without what the caller had set for another one."""
    foreign = {"PYTHONHOME", "PIP_USER", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    env = {k: v for k, v in os.environ.items() if k not in foreign}
    env["VIRTUAL_ENV"] = str(VENV)
    env["PATH"] = f"{VENV / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}"
    if not plan.distro:
        env.pop("PYTHONPATH", None)
        env |= {"AMENT_PREFIX_PATH": str(VENV), "CMAKE_PREFIX_PATH": str(VENV)}
        env["PYTHONNOUSERSITE"] = "1"
    return env


def venv_problem() -> str:
    """Why the present .venv cannot be used; empty if it can."""
    if not (VENV / "pyvenv.cfg").is_file() or not PYTHON.exists():
        return "there is none"
    question = "import pip, sys; print(*sys.version_info[:2], sep='.')"
    answer = subprocess.run([PYTHON, "-I", "-c", question], capture_output=True, text=True)
    if answer.returncode:
        return "its Python or pip does not run"
    wanted = f"{sys.version_info[0]}.{sys.version_info[1]}"
    got = answer.stdout.strip()
    return "" if got == wanted else f"it has Python {got} instead of {wanted}"


def create_venv(plan: Plan) -> None:
    """A new virtual environment. An old one is removed; anything else in its place is left."""
    is_ours = not VENV.exists() or (VENV / "pyvenv.cfg").is_file() or not any(VENV.iterdir())
    if VENV.is_symlink() or not is_ours:
        raise StepFailed(f"{VENV} is not a virtual environment; move it away and try again")
    shutil.rmtree(VENV, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(VENV)]
    if plan.distro:  # rclpy's own dependencies are system packages
        command.append("--system-site-packages")
    run_step("1/5", "virtual environment", command, LOGS, os.environ)


def install_packages(plan: Plan) -> None:
    """Both lists of pins, or the first one only where a distribution brings ROS 2."""
    env = environment(plan)
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r"]
    title = "Python packages (PyTorch is large)"
    run_step("2/5", title, [*pip, "requirements/python.txt"], LOGS, env)
    if plan.distro:
        print(f"[3/5] ROS 2: the sourced distribution {plan.distro}")
        return
    run_step("3/5", "ROS 2 as wheels", [*pip, "requirements/ros.txt"], LOGS, env)
    fix_wheels.repair(VENV)


def prepare_environment(plan: Plan) -> None:
    """.venv as the lists of pins say, proven by importing it."""
    problem = venv_problem()
    if not problem and is_done("environment", plan.environment_key):
        return
    if problem:
        create_venv(plan)
    install_packages(plan)
    proof = [str(PYTHON), "-c", PROOF]
    if not problem and not succeeds(proof, environment(plan)):
        # An installation that was cut short can look complete to pip. Once more, from nothing.
        print("      the environment does not import what it should; making it anew")
        create_venv(plan)
        install_packages(plan)
    run_step("3/5", "all of them import", proof, LOGS, environment(plan))
    mark_done("environment", plan.environment_key)


def stage_sources() -> Path:
    """A folder of links to what CMake needs.

    CMake refuses to export include folders inside the source tree, and NumPy's are in .venv.
    """
    stage = ROOT / "build" / "source" / "flmm_ros"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    for name in LINKED:
        if (ROOT / name).exists():
            (stage / name).symlink_to(ROOT / name)
    return stage


def build_messages(plan: Plan) -> None:
    """install/ with the generated messages, proven by importing them as the node will."""
    if is_done("messages", plan.messages_key) and (ROOT / "install").is_dir():
        return
    if not (STAMPS / "messages").is_file():  # whatever is there was built by something else
        for name in ("build", "install"):
            shutil.rmtree(ROOT / name, ignore_errors=True)
    colcon = ["colcon", "build", "--base-paths", str(stage_sources()), "--symlink-install"]
    options = ("-DBUILD_TESTING=OFF", "-DFLMM_WITH_SIMULATION=ON")
    cmake = ["--cmake-args", *options, f"-DPython3_EXECUTABLE={PYTHON}"]
    run_step("4/5", "messages and actions", [*colcon, *cmake], LOGS, environment(plan))
    proof = ["bash", "-c", f'. scripts/env.sh && python -c "{MESSAGE_PROOF}"']
    run_step("5/5", "the node can import them", proof, LOGS, os.environ)
    mark_done("messages", plan.messages_key)


def main() -> int:
    """Does what is not done yet. Returns the exit status."""
    start = time.monotonic()
    os.chdir(ROOT)
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("set-up: waiting for another set-up of this checkout", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    LOGS.mkdir(parents=True, exist_ok=True)
    plan = make_plan()
    is_ready = (
        is_done("environment", plan.environment_key)
        and is_done("messages", plan.messages_key)
        and (ROOT / "install").is_dir()
        and not venv_problem()
    )
    if is_ready:
        return 0
    missing = system_check.missing_from_system(has_distro=bool(plan.distro))
    if missing:
        print(system_check.sentence(missing), file=sys.stderr)
        return 1
    prepare_environment(plan)
    build_messages(plan)
    print(f"set-up complete after {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except StepFailed as failure:
        sys.exit(f"set-up: {failure}")
    except KeyboardInterrupt:
        sys.exit("\nset-up: interrupted; the next run goes on from here")
