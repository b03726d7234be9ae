"""The arrows between the rooms of the house: training -> engine <- ros, and no leaf calls a leaf.

The tables below are the architecture, written out. A new import that is not in them fails here, so
that a new dependency is a decision and not an accident. Imports inside functions count as well.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

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


ROOMS = {
    "flmm_ros/engine": Room(frozenset(TENSORS | PICTURES | {"psutil", "rich", "scipy", "yaml"})),
    "flmm_ros/ros": Room(
        frozenset(ROS | PICTURES), ("flmm_ros.engine", "flmm_ros.msg", "flmm_ros.action")
    ),
    "flmm_ros/console": Room(
        frozenset(ROS | PICTURES | {"aiohttp", "psutil"}),
        (
            "flmm_ros.engine.masks.overlay",  # the colours of objects
            "flmm_ros.engine.types",  # the errors
            "flmm_ros.ros",
            "flmm_ros.msg",
            "flmm_ros.action",
        ),
    ),
    "flmm_ros/tools": Room(
        frozenset(
            TENSORS
            | PICTURES
            | ROS
            | {"matplotlib", "onnxruntime", "psutil", "pybullet", "pybullet_data", "rich", "yaml"}
            | {"lz4", "ray", "scipy", "zstandard"}  # of the replay
        ),
        ("flmm_ros.engine", "flmm_ros.ros", "flmm_ros.msg", "flmm_ros.action"),
    ),
    "training": Room(
        frozenset(
            TENSORS
            | PICTURES
            | {"accelerate", "matplotlib", "pycocotools", "rich", "scipy", "wandb", "yaml"}
        ),
        (
            "flmm_ros.engine",
            "flmm_ros.engine.masks.rle",  # COCO's text of run lengths
            "flmm_ros.report.pictures",  # an evaluation's page looks like a demo's
            "flmm_ros.report.style",
            "flmm_sim.tabletop.tabletop",  # the simulated world makes the data
            "benchmarks.engine.benchmark",  # a step is measured on the models commands are measured on
            "benchmarks.engine.measure",
            "benchmarks.engine.models",
            "benchmarks.engine.report",
        ),
    ),
    "tests/engine": Room(
        frozenset(TENSORS | PICTURES | {"hypothesis", "onnx", "onnxruntime", "pytest", "yaml"}),
        (
            "flmm_ros.engine",
            "flmm_ros.cli.parity",
            "benchmarks.engine.benchmark",
            "benchmarks.engine.baseline",
            "benchmarks.engine.measure",
            "benchmarks.engine.models",
            "benchmarks.engine.report",
            "solids",
            "tiny_families",
            "tiny_model",
        ),
    ),
}

# Inside the engine. Every file may use the shared data types and the configuration; the facade may
# use everything, for it tells the story; the others only what stands here, each for one reason.
SHARED = {"types", "config"}
FACADE = {"grounder", "scene", "ground", "localisation", "export"}
ENGINE = {
    "__init__": set(),
    "attention": set(),
    "candidates": set(),
    "chat": {"lmm.tokens", "phrases"},  # what was said, and what it refers back to
    "checkpoint": {"heads", "mask_refiner", "official"},  # it fills them with weights
    "compiling": set(),
    "config": set(),
    "conv_tower": set(),
    "framing": set(),
    "heads": {"mask_decoder", "mask_refiner", "phrase_selector"},  # the module that holds them
    "interruption": set(),
    "intent": {"phrases"},  # a command's form is told by its phrases
    "lmm": {"lmm.base", "lmm.loading", "lmm.prefix", "lmm.reading"},  # the table of families
    # records rows on a prefix; says what the heads will get
    "lmm.base": {
        "attention",
        "heads",
        "lmm.feed_forward",
        "lmm.loading",
        "lmm.prefix",
        "lmm.reading",  # what its forwards recorded
        "lmm.tokens",
    },
    "lmm.llava": {"conv_tower", "lmm.base", "lmm.loading", "lmm.square", "lmm.tokens"},
    "lmm.deepseek_vl": {"lmm.processed", "lmm.square"},
    "lmm.feed_forward": set(),
    "lmm.gemma3": {"lmm.processed"},
    "lmm.idefics3": {"lmm.processed"},
    "lmm.internvl": {"lmm.processed"},
    "lmm.llava_next": {"lmm.processed"},
    "lmm.llava_onevision": {"lmm.llava_next"},  # the same, but for the size of its grid
    "lmm.processed": {"lmm.base", "lmm.loading", "lmm.tokens"},
    "lmm.qwen_vl": {"lmm.processed", "lmm.tokens"},
    "lmm.loading": {"lmm.tokens"},  # brings the tokenizer in too
    "lmm.prefix": set(),
    "lmm.reading": {"attention", "lmm.tokens"},
    "lmm.square": set(),
    "lmm.tokens": set(),
    "localisation_heads": {"heads"},  # says which language model its heads belong to
    "mask_decoder": set(),
    "mask_refiner": {"conv_tower", "sam_image_encoder"},  # the image encoders it may hold
    "onnx": set(),
    "onnx.cache": {"heads"},  # of which it hashes the weights
    "onnx.check": {"heads"},  # compares two
    "onnx.graphs": {"heads", "mask_decoder"},  # writes them down
    "onnx.heads": {"heads", "mask_refiner", "onnx.sessions"},  # runs them
    # from heads to heads in another runtime: the story of this folder
    "onnx.loading": {
        "checkpoint",
        "heads",
        "onnx.cache",
        "onnx.check",
        "onnx.graphs",
        "onnx.heads",
        "onnx.sessions",
    },
    "onnx.sessions": set(),
    "official": {
        "heads",
        "mask_refiner",
    },  # shapes of foreign checkpoints, as configurations of ours
    "heaps": set(),
    "memory": {"conv_tower"},
    "models": set(),
    "overlay": set(),
    "phrase_selector": set(),
    "phrases": set(),
    "reply": set(),
    "results": set(),
    "sam_image_encoder": set(),
    "scene_memory": {"lmm.prefix"},  # holds one image's prefix, made by the adapter
    "stages": set(),
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
    "tracker": set(),
    # what it is made of
    "training_free": {"heads", "localisation_heads", "mask_refiner"},
    "types": set(),
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


PACKAGES = {
    module_name(path)
    for folder in ("flmm_ros", "training")
    for path in (ROOT / folder).rglob("__init__.py")
}


def room_violations(room: str, source: str) -> list[str]:
    own = room.replace("/", ".")
    rule = Room(ROOMS[room].packages, (*ROOMS[room].modules, own))
    return sorted(m for m in imports_of(source, PACKAGES) if not rule.allows(m))


def engine_violations(name: str, source: str) -> list[str]:
    """`name` and the result without the leading flmm_ros.engine."""
    prefix = "flmm_ros.engine."
    used = {m.removeprefix(prefix) for m in imports_of(source, PACKAGES) if m.startswith(prefix)}
    if name in FACADE:
        return []
    if name not in ENGINE:
        return [f"{name} is not in the table ENGINE of this test; write down what it may use"]
    allowed = ENGINE[name] | (set() if name == "types" else SHARED)
    return sorted(used - allowed)


@pytest.mark.parametrize("room", ROOMS)
def test_files_import_only_what_their_room_may(room):
    found = {
        str(path.relative_to(ROOT)): violations
        for path in files_in(room)
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


@pytest.mark.parametrize(
    ("room", "source", "caught"),
    [
        ("flmm_ros/engine", "import rclpy", "rclpy"),
        ("flmm_ros/engine", "def f():\n    from rclpy.node import Node", "rclpy.node"),
        ("flmm_ros/engine", "from sensor_msgs.msg import Image", "sensor_msgs.msg"),
        ("flmm_ros/engine", "from flmm_ros.msg import GroundedAnswer", "flmm_ros.msg"),
        (
            "flmm_ros/engine",
            "from flmm_ros.ros import conversions",
            "flmm_ros.ros.messages.conversions",
        ),
        ("flmm_ros/engine", "from flmm_ros import tools", "flmm_ros.tools"),
        ("flmm_ros/engine", "import training.heads.losses", "training.heads.losses"),
        ("flmm_ros/engine", "from .types import View", ".types"),
        ("flmm_ros/ros", "import torch", "torch"),
        ("flmm_ros/ros", "from transformers import AutoModel", "transformers"),
        ("flmm_ros/ros", "from flmm_ros.tools import tabletop", "flmm_sim.tabletop.tabletop"),
        ("flmm_ros/console", "import torch", "torch"),
        ("flmm_ros/console", "from flmm_ros.engine.scene import Scene", "flmm_ros.engine.scene"),
        ("flmm_ros/ros", "from flmm_ros.console import bridge", "flmm_ros.console.node.bridge"),
        ("flmm_ros/tools", "import training", "training"),
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
        ("phrases", "from flmm_ros.engine.scene import Scene", ["scene"]),
        ("phrases", "from flmm_ros.engine import mask_decoder", ["mask_decoder"]),
        ("lmm.llava", "import flmm_ros.engine.grounder", ["grounder"]),
        ("types", "from flmm_ros.engine.config import ModelConfig", ["config"]),
        ("phrases", "from flmm_ros.engine.types import Phrase", []),
        ("grounder", "from flmm_ros.engine.scene import Scene", []),
    ],
)
def test_a_leaf_that_calls_a_leaf_is_caught(name, source, caught):
    assert engine_violations(name, source) == caught


def test_a_new_file_of_the_engine_has_to_be_written_down():
    assert "not in the table" in engine_violations("novelty", "")[0]
