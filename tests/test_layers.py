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

"""The arrows between the rooms of the house: training -> engine <- ros, and no leaf calls a leaf.

The tables below are the architecture, written out. A new import that is not in them fails here, so
that a new dependency is a decision and not an accident. Imports inside functions count as well.
"""

import ast
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP = ("flmm_ros", "flmm_sim", "benchmarks", "examples", "training")
MOST_FILES = 13  # of one folder, without its __init__.py

TENSORS = {"torch", "transformers", "tokenizers", "safetensors"}
PICTURES = {"numpy", "PIL", "cv2"}
ROS = {
    "action_msgs",
    "ament_index_python",
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rclpy",
    "rosbags",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "unique_identifier_msgs",
    "vision_msgs",
    "visualization_msgs",
}


@dataclass(frozen=True)
class Room:
    """What the files of one folder may import besides the standard library and each other."""

    packages: frozenset[str]
    modules: tuple[str, ...] = ()  # of this repository, with everything below them

    def allows(self, module: str) -> bool:
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top in self.packages:
            return True
        return any(module == ours or module.startswith(f"{ours}.") for ours in self.modules)


PAGES = {"jinja2", "markupsafe", "matplotlib"}
OF_THE_NODE = ("flmm_ros.engine", "flmm_ros.msg", "flmm_ros.action")
OF_A_ROBOT = (
    *OF_THE_NODE,
    "flmm_ros.ros",
    "flmm_ros.console",
    "flmm_ros.replay",
    "flmm_ros.report",
)

# The longest folder that fits a file counts.
ROOMS = {
    "flmm_ros/engine": Room(
        frozenset(TENSORS | PICTURES)
        | {"jinja2", "onnxruntime", "psutil", "pycocotools", "scipy", "yaml"}
    ),
    "flmm_ros/ros": Room(frozenset(ROS | PICTURES | {"scipy", "yaml"}), OF_THE_NODE),
    "flmm_ros/ros/client": Room(  # runs on a laptop: no torch
        frozenset(ROS | {"numpy"}),
        (
            "flmm_ros.engine.errors",
            "flmm_ros.msg",
            "flmm_ros.action",
            "flmm_ros.ros.interface",
            "flmm_ros.ros.messages",
            "flmm_ros.ros.images.decoding",
        ),
    ),
    "flmm_ros/console": Room(
        frozenset(ROS | PICTURES | {"aiohttp", "psutil", "typer"}),
        (
            "flmm_ros.cli.command_line",
            "flmm_ros.engine.masks.overlay",  # the colours of objects
            "flmm_ros.engine.errors",
            "flmm_ros.ros",
            "flmm_ros.msg",
            "flmm_ros.action",
        ),
    ),
    "flmm_ros/report": Room(frozenset(PICTURES | PAGES), ("flmm_ros.engine",)),
    "flmm_ros/replay": Room(
        frozenset(ROS | TENSORS | PICTURES | PAGES)
        | {"lz4", "mcap", "psutil", "ray", "rich", "scipy", "typer", "yaml", "zstandard"},
        (*OF_THE_NODE, "flmm_ros.cli.command_line", "flmm_ros.ros", "flmm_ros.report"),
    ),
    "flmm_ros/cli": Room(
        frozenset(ROS | TENSORS | PICTURES | PAGES)
        | {"onnxruntime", "psutil", "rich", "scipy", "typer", "yaml"},
        (*OF_A_ROBOT, "flmm_ros.cli"),
    ),
    "flmm_sim": Room(
        frozenset(ROS | TENSORS | PICTURES | {"psutil", "rich", "scipy", "typer", "yaml"}),
        (*OF_A_ROBOT, "flmm_ros.cli.command_line"),
    ),
    # The physics engine is nowhere else, so that another can take its place.
    "flmm_sim/bullet": Room(
        frozenset(PICTURES | {"pybullet", "pybullet_data"}),
        ("flmm_sim.tabletop", "flmm_sim.arm.kinematics"),
    ),
    "benchmarks": Room(
        frozenset(ROS | TENSORS | PICTURES | PAGES)
        | {"accelerate", "onnxruntime", "psutil", "rich", "typer", "yaml"},
        (*OF_A_ROBOT, "flmm_sim", "flmm_ros.cli.command_line"),
    ),
    "benchmarks/training": Room(
        frozenset(TENSORS | PICTURES | {"accelerate", "rich", "typer", "yaml"}),
        (
            "flmm_ros.engine",
            "flmm_ros.cli.command_line",
            "training",
            "benchmarks.engine",
            "benchmarks.machine",
        ),
    ),
    "examples": Room(
        frozenset(ROS | TENSORS | PICTURES | PAGES | {"rich", "scipy", "typer", "yaml"})
        | {"moveit", "nav2_simple_commander", "py_trees"},  # what programs to copy drive
        (*OF_A_ROBOT, "flmm_ros", "flmm_sim"),
    ),
    "training": Room(
        frozenset(TENSORS | PICTURES | PAGES)
        | {
            "accelerate",
            "huggingface_hub",
            "pycocotools",
            "rich",
            "scipy",
            "typer",
            "wandb",
            "yaml",
        },
        (
            "flmm_ros.engine",
            "flmm_ros.cli.command_line",
            "flmm_ros.cli.plain_console",
            "flmm_ros.report",  # an evaluation's page looks like a demo's
            "flmm_sim.tabletop",  # the simulated world makes the data
        ),
    ),
    "tests/engine": Room(
        frozenset(TENSORS | PICTURES | {"hypothesis", "onnx", "onnxruntime", "pytest", "yaml"}),
        (
            "flmm_ros.engine",
            "flmm_ros.cli.command_line",
            "flmm_ros.cli.export",
            "flmm_ros.cli.ground",
            "flmm_ros.cli.localise",
            "flmm_ros.cli.parity",
            "solids",
            "tiny_families",
            "tiny_model",
            "tiny_tokenizers",
        ),
    ),
}

# Inside the engine. Every file may use the shared data types and the configuration; the facade may
# use everything, for it tells the story; the others only what stands here, each for one reason.
SHARED = {"answer", "config", "errors", "progress", "lmm.view", "masks.mask", "targets.target"}
FACADE = {"grounder", "scene", "heads.localisation_search", "onnx.export"}

ENGINE = {
    "__init__": set(),
    "heads": set(),
    "language": set(),
    "lmm.families": set(),
    "masks": set(),
    "runtime": set(),
    "vision": set(),
    "lmm.attention": set(),
    "masks.candidates": set(),
    # what was said, and what it refers back to
    "chat": {"lmm.tokens", "language.normalisation", "language.references"},
    "heads.checkpoint": {
        "heads.trained",
        "heads.mask_refiner",
        "heads.official",
        "heads.refiner_shape",
        "heads.weight_files",
    },  # it fills them with weights
    "runtime.compilation": set(),
    "config": set(),
    "vision.conv_encoder": set(),
    "masks.exclusion": {"masks.candidates"},  # what counts as a part
    "masks.framing": set(),
    "fingerprint": set(),
    "image": set(),
    # language model and heads, and how a command is interrupted
    "loaded_model": {"heads.trained", "lmm.base", "runtime.interruption"},
    "heads.trained": {
        "heads.mask_decoder",
        "heads.mask_refiner",
        "heads.phrase_selector",
        "heads.refiner_shape",
    },  # the module that holds them
    "runtime.interruption": set(),
    # a command's form is told by what it means
    "language.intent": {"language.meaning", "language.normalisation"},
    "lmm": {"lmm.base", "lmm.loading", "lmm.prefix", "lmm.reading"},  # the table of families
    # records rows on a prefix; says what the heads will get
    "lmm.base": {
        "lmm.attention",
        "lmm.family",
        "lmm.loading",
        "lmm.prefix",
        "lmm.reading",  # what its forwards recorded
        "lmm.tokens",
    },
    "lmm.family": {
        "heads.trained",  # says what the heads will get
        "lmm.attention",
        "lmm.feed_forward",
        "lmm.loading",
        "lmm.tokens",
    },
    "lmm.families.llava": {
        "vision.conv_encoder",
        "lmm.base",
        "lmm.loading",
        "lmm.families.square",
        "lmm.families.vision_grid",
        "lmm.tokens",
    },
    "lmm.families.deepseek_vl": {"lmm.families.processed", "lmm.families.square"},
    "lmm.feed_forward": set(),
    "lmm.families.gemma3": {"lmm.families.processed"},
    "lmm.families.idefics3": {"lmm.families.processed"},
    "lmm.families.internvl": {"lmm.families.processed"},
    "lmm.families.llava_next": {
        "lmm.families.processed",
        "lmm.families.vision_grid",
        "lmm.loading",
    },
    "lmm.families.llava_onevision": {
        "lmm.families.llava_next"
    },  # the same, but for the size of its grid
    "lmm.families.processed": {"lmm.base", "lmm.loading", "lmm.tokens"},
    "lmm.families.qwen_vl": {"lmm.families.processed", "lmm.loading", "lmm.tokens"},
    "lmm.loading": {"lmm.tokens"},  # brings the tokenizer in too
    "lmm.prefix": set(),
    "lmm.reading": {"lmm.attention", "lmm.tokens"},
    "lmm.families.square": set(),
    "lmm.families.vision_grid": {"lmm.loading"},
    "lmm.decoding": {"lmm.encoding"},  # what a range of characters is
    "lmm.encoding": set(),
    "lmm.tokens": {"lmm.decoding", "lmm.encoding"},  # both ways
    "heads.localisation": {"heads.trained"},  # says which language model its heads belong to
    "heads.mask_decoder": set(),
    "heads.refiner_shape": set(),
    "heads.weight_files": set(),
    "heads.mask_refiner": {
        "heads.refiner_shape",
        "vision.conv_encoder",
        "vision.sam_image_encoder",
    },  # the image encoders it may hold
    "onnx": set(),
    "onnx.cache": {"heads.trained"},  # of which it hashes the weights
    "onnx.check": {"heads.trained"},  # compares two
    "onnx.graphs": {"heads.trained", "heads.mask_decoder"},  # writes them down
    "onnx.heads": {"heads.trained", "heads.mask_refiner", "onnx.sessions"},  # runs them
    # from heads to heads in another runtime: the story of this folder
    "onnx.loading": {
        "heads.checkpoint",
        "heads.trained",
        "onnx.cache",
        "onnx.check",
        "onnx.graphs",
        "onnx.heads",
        "onnx.sessions",
    },
    "onnx.sessions": set(),
    "heads.official": {
        "heads.trained",
        "heads.refiner_shape",
    },  # shapes of foreign checkpoints, as configurations of ours
    "runtime.allocator": set(),
    "runtime.memory": {"vision.conv_encoder"},
    "masks.overlay": set(),
    "heads.phrase_selector": set(),
    # from words to what is meant and what is not: the story of this folder
    "language.meaning": {
        "language.descriptions",
        "language.forms",
        "language.normalisation",
        "language.phrases",
        "language.sentence",
        "language.words",
    },
    "language.descriptions": {"language.negation", "language.phrases", "language.words"},
    "language.forms": set(),
    "language.sentence": {"language.descriptions", "language.negation", "language.words"},
    "language.negation": {"language.words"},
    "language.normalisation": set(),
    "language.phrases": {"language.normalisation", "language.words"},
    "language.references": {"language.forms", "language.phrases"},
    "language.words": {"language.normalisation"},  # which characters make a word
    "language.reply": {"language.phrases"},  # one thing or several
    "masks.results": set(),
    "vision.sam_image_encoder": set(),
    "runtime.encoded_image": {"lmm.prefix"},  # holds one image's prefix, made by the adapter
    "runtime.scene_cache": {"runtime.encoded_image"},  # decides which of them stay encoded
    "runtime.stages": set(),
    "runtime.threads": set(),
    "targets": set(),
    "targets.ball": {"targets.planes"},  # shares its tolerance
    "targets.box": {"targets.ball", "targets.planes"},  # what boxes are put around
    "targets.depth": {"targets.settings"},
    "targets.grasps": {"targets.planes", "targets.settings"},
    "targets.planes": set(),
    # from masks to things in space: the story of this folder
    "targets.range_image": {
        "targets.ball",
        "targets.box",
        "targets.depth",
        "targets.grasps",
        "targets.planes",
        "targets.settings",
    },
    "targets.settings": set(),
    "masks.rle": set(),
    "masks.tracker": set(),
    # what it is made of
    "heads.training_free": {"heads.trained", "heads.localisation", "heads.mask_refiner"},
}


def imports_of(source: str, names_are_modules: set[str]) -> set[str]:
    """Every module that a source text imports, by its full name; relative ones begin with a dot.

    names_are_modules: packages of ours, of which `from package import name` names a module.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module in names_are_modules:
                found |= {f"{module}.{alias.name}" for alias in node.names}
            else:
                found.add(module)
    return found


def module_name(path: Path) -> str:
    """flmm_ros/engine/lmm/base.py -> flmm_ros.engine.lmm.base; a package has its folder's name."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def files_in(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


PACKAGES = {module_name(path) for folder in TOP for path in (ROOT / folder).rglob("__init__.py")}


def room_of(path: Path) -> str | None:
    """The longest folder of ROOMS that holds the file."""
    parts = path.relative_to(ROOT).parts[:-1]
    folders = ("/".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((folder for folder in folders if folder in ROOMS), None)


def room_violations(room: str, source: str) -> list[str]:
    own = room.replace("/", ".")
    rule = Room(ROOMS[room].packages, (*ROOMS[room].modules, own))
    return sorted(m for m in imports_of(source, PACKAGES) if not rule.allows(m))


def is_shared(name: str) -> bool:
    return any(name == shared or name.startswith(f"{shared}.") for shared in SHARED)


def engine_violations(name: str, source: str) -> list[str]:
    """`name` and the result without the leading flmm_ros.engine."""
    prefix = "flmm_ros.engine."
    used = {m.removeprefix(prefix) for m in imports_of(source, PACKAGES) if m.startswith(prefix)}
    if name in FACADE:
        return []
    if is_shared(name):
        return sorted(m for m in used if not is_shared(m))
    if name not in ENGINE:
        return [f"{name} is not in the table ENGINE of this test; write down what it may use"]
    return sorted(m for m in used - ENGINE[name] if not is_shared(m))


@pytest.mark.parametrize("room", ROOMS)
def test_files_import_only_what_their_room_may(room):
    found = {
        str(path.relative_to(ROOT)): violations
        for path in files_in(room)
        if room_of(path) == room
        if (violations := room_violations(room, path.read_text()))
    }
    assert not found, f"against the table ROOMS: {found}"


def test_leaves_of_the_engine_do_not_call_each_other():
    found = {}
    for path in files_in("flmm_ros/engine"):
        name = module_name(path).removeprefix("flmm_ros.engine").removeprefix(".") or "__init__"
        if violations := engine_violations(name, path.read_text()):
            found[name] = violations
    assert not found, f"against the table ENGINE: {found}"


def test_the_facade_is_imported_by_no_leaf():
    for name, used in ENGINE.items():
        assert not used & FACADE, name


def test_the_table_of_the_engine_has_no_circle():
    done: set[str] = set()
    while left := set(ENGINE) - done:
        free = {name for name in left if ENGINE[name] <= done}
        assert free, f"these import each other: {sorted(left)}"
        done |= free


def graph() -> dict[str, set[str]]:
    """Every module of ours and the modules of ours that it imports, wherever the import stands."""
    modules = {module_name(path): path for folder in TOP for path in files_in(folder)}
    found = {}
    for name, path in modules.items():
        used = imports_of(path.read_text(), PACKAGES)
        ours = {m if m in modules else m.rpartition(".")[0] for m in used}
        found[name] = (ours & set(modules)) - {name}
    # Its public names are imported when they are used; that nothing below uses them is the rule of
    # the rooms.
    found["flmm_ros"] = set()
    return found


def test_no_two_files_import_each_other():
    """Also not through others, within functions, or for type hints only."""
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' -> '.join(error.args[1])}")


def test_every_file_has_a_room():
    homeless = [str(p) for folder in TOP for p in files_in(folder) if room_of(p) is None]
    assert homeless == [str(ROOT / "flmm_ros" / "__init__.py")]


def test_no_folder_is_a_drawer():
    """A folder with more files than one takes in at a glance needs folders inside."""
    counts = {
        str(folder.relative_to(ROOT)): sum(p.name != "__init__.py" for p in folder.glob("*.py"))
        for top in TOP
        for folder in {p.parent for p in files_in(top)}
    }
    assert not {f: n for f, n in counts.items() if n > MOST_FILES}


@pytest.mark.parametrize(
    ("room", "source", "caught"),
    [
        ("flmm_ros/engine", "import rclpy", "rclpy"),
        ("flmm_ros/engine", "def f():\n    from rclpy.node import Node", "rclpy.node"),
        ("flmm_ros/engine", "from sensor_msgs.msg import Image", "sensor_msgs.msg"),
        ("flmm_ros/engine", "from flmm_ros.msg import GroundedAnswer", "flmm_ros.msg"),
        (
            "flmm_ros/engine",
            "from flmm_ros.ros.messages import conversions",
            "flmm_ros.ros.messages.conversions",
        ),
        ("flmm_ros/engine", "from flmm_ros import tools", "flmm_ros.tools"),
        ("flmm_ros/engine", "from flmm_ros import Grounder", "flmm_ros.Grounder"),
        ("flmm_ros/engine", "import training.heads.losses", "training.heads.losses"),
        ("flmm_ros/engine", "from .types import View", ".types"),
        ("flmm_ros/ros", "import torch", "torch"),
        ("flmm_ros/ros", "from transformers import AutoModel", "transformers"),
        ("flmm_ros/ros", "from flmm_sim.tabletop import tabletop", "flmm_sim.tabletop.tabletop"),
        ("flmm_ros/console", "import torch", "torch"),
        ("flmm_ros/console", "from flmm_ros.engine.scene import Scene", "flmm_ros.engine.scene"),
        (
            "flmm_ros/ros",
            "from flmm_ros.console.node import bridge",
            "flmm_ros.console.node.bridge",
        ),
        ("flmm_ros/cli", "import flmm_sim.processes", "flmm_sim.processes"),
        ("flmm_ros/replay", "import benchmarks", "benchmarks"),
        ("flmm_ros/ros/client", "import torch", "torch"),
        ("benchmarks", "import training", "training"),
        ("flmm_sim", "import examples.demo", "examples.demo"),
        ("flmm_sim", "import pybullet", "pybullet"),
        ("training", "import rclpy", "rclpy"),
        ("training", "import flmm_ros.ros.client.client", "flmm_ros.ros.client.client"),
        ("training", "from examples.demo.demo import main", "examples.demo.demo"),
        ("tests/engine", "import rclpy", "rclpy"),
    ],
)
def test_a_planted_import_is_caught(room, source, caught):
    assert room_violations(room, source) == [caught]


@pytest.mark.parametrize(
    ("name", "source", "caught"),
    [
        ("language.phrases", "from flmm_ros.engine.scene import Scene", ["scene"]),
        (
            "language.phrases",
            "from flmm_ros.engine.heads import mask_decoder",
            ["heads.mask_decoder"],
        ),
        ("lmm.families.llava", "import flmm_ros.engine.grounder", ["grounder"]),
        ("errors", "from flmm_ros.engine.scene import Scene", ["scene"]),
        ("language.phrases", "from flmm_ros.engine.answer import Phrase", []),
        ("grounder", "from flmm_ros.engine.scene import Scene", []),
    ],
)
def test_a_leaf_that_calls_a_leaf_is_caught(name, source, caught):
    assert engine_violations(name, source) == caught


def test_a_new_file_of_the_engine_has_to_be_written_down():
    assert "not in the table" in engine_violations("novelty", "")[0]
