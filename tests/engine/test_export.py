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

"""Heads in ONNX Runtime: equal to torch, cached by what they were made from, refused if they
differ."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from tiny_model import tiny_heads

from flmm_ros.cli.command_line import run_command
from flmm_ros.cli.export import export as export_command
from flmm_ros.engine.config import GrounderConfig
from flmm_ros.engine.errors import CheckpointError, ConfigError
from flmm_ros.engine.grounder import Grounder
from flmm_ros.engine.heads.checkpoint import load_official_heads, save_heads
from flmm_ros.engine.heads.mask_decoder import MaskDecoder, enlargement
from flmm_ros.engine.heads.refiner_shape import RefinerShape, SamVitShape
from flmm_ros.engine.heads.trained import Heads, HeadsConfig, LmmShape
from flmm_ros.engine.onnx import export, loading
from flmm_ros.engine.onnx.cache import MANIFEST, Facts, distrust, facts_of, folder_for
from flmm_ros.engine.onnx.check import Masks, compare, require_equal_masks
from flmm_ros.engine.onnx.graphs import (
    GRAPHS,
    TOLERANCE,
    export_graphs,
    graph_factor,
)
from flmm_ros.engine.onnx.sessions import (
    CPU,
    CUDA,
    MAX_PHRASES,
    TENSORRT,
    Choice,
    choose,
    tensorrt_profile,
)

IMAGE_HW = (72, 100)
ON_CPU, HALF_ON_CPU = Choice((CPU,), "float32"), Choice((CPU,), "float16")
FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Facts]:
    """The tiny heads in a cache of their own."""
    heads, root = tiny_heads(), tmp_path_factory.mktemp("cache")
    facts = facts_of(heads, device="cpu", precision="float32", providers=(CPU,))
    folder = folder_for(root, facts)
    assert loading.built(heads, folder, facts, ON_CPU)
    return folder, facts


def sam_heads(**changes: object) -> Heads:
    """Random heads with a small SAM ViT: windows that do not divide its grid, a global layer."""
    torch.manual_seed(9)
    vit = SamVitShape(
        width=32, depth=2, heads=2, patch=8, window=3, global_layers=(1,), mlp_width=64
    )
    shape = RefinerShape(
        hidden=32, input_size=64, decoder_heads=4, decoder_mlp=64, iou_hidden=32, encoder=vit
    )
    config = HeadsConfig(base_channels=4, upsample_to=16, refiner=shape)
    return Heads.create(LmmShape(3, 4, 32), dataclasses.replace(config, **changes)).eval()


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny heads in float16."""
    folder = tmp_path_factory.mktemp("halved")
    export_graphs(tiny_heads(), folder, {}, half=True)
    return folder


# The graphs.


@pytest.mark.parametrize(
    "make",
    [tiny_heads, sam_heads, lambda: sam_heads(use_text=False, isolated=False)],
    ids=["conv", "sam", "without text"],
)
def test_graphs_equal_torch_for_any_count_and_length(
    make: Callable[[], Heads], tmp_path: Path
) -> None:
    heads = make()
    assert set(export_graphs(heads, tmp_path, {})) == set(GRAPHS)
    ours = loading.opened(heads, tmp_path, ON_CPU)
    torch.manual_seed(1)
    count = MAX_PHRASES + 2  # more than run at once
    image = torch.randint(0, 256, (*IMAGE_HW, 3), dtype=torch.uint8).numpy()
    maps = torch.rand(count, 12, 5, 7)
    cues = [torch.randn(1 + i % 3, 32) for i in range(count)]
    with torch.inference_mode():
        coarse, features = heads.decode(maps), heads.see(image)
        wanted = heads.refine(features, coarse, cues, IMAGE_HW)
        torch.testing.assert_close(ours.decode(maps), coarse, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(ours.see(image), features, atol=TOLERANCE, rtol=0)
        got = ours.refine(features, coarse, cues, IMAGE_HW)
    torch.testing.assert_close(got.low_logits, wanted.low_logits, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(got.iou, wanted.iou, atol=TOLERANCE, rtol=0)
    assert torch.equal(got.boxes, wanted.boxes)


def test_official_heads_can_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of full size, but for their ViT; eight at once would take seconds and show nothing new."""
    monkeypatch.setattr("flmm_ros.engine.onnx.graphs._CHECKED_COUNTS", (1, 3))
    monkeypatch.setattr("flmm_ros.engine.onnx.graphs._CHECKED_GRIDS", ((24, 24), (13, 41)))
    case = next(GOLDEN.glob("*/flmm_head.pth")).parent
    heads = load_official_heads(case / "flmm_head.pth", case / "sam_image_encoder.pth")
    differences = export_graphs(heads, tmp_path, {})
    assert max(differences.values()) < TOLERANCE


@pytest.mark.parametrize("upsample_to", [16, 64])
def test_every_grid_is_enlarged_as_torch_does(upsample_to: int) -> None:
    for longest in range(1, upsample_to):
        exact = enlargement((longest, 1), upsample_to)
        factor = np.float32(graph_factor(longest, upsample_to))
        for side in range(1, longest + 1):
            assert int(np.float32(side) * factor) == int(side * exact)


def test_a_graph_says_what_it_was_made_from(exported: tuple[Path, Facts]) -> None:
    folder, facts = exported
    for name in GRAPHS:
        model = onnx.load(folder / f"{name}.onnx")
        said = {p.key: p.value for p in model.metadata_props}
        assert said["flmm.graph"] == name and said["flmm.format"] == "flmm_ros.onnx/1"
        assert said["flmm.weights"] == facts["weights"] and said["flmm.torch"] == torch.__version__
        assert '"layers": 3' in said["flmm.lmm"] and '"upsample_to": 16' in said["flmm.heads"]
        assert model.opset_import[0].version == 18


class MoodyDecoder(MaskDecoder):
    """Its way depends on the count of phrases: what tracing cannot see."""

    def drawn(self, x: torch.Tensor) -> torch.Tensor:
        return super().drawn(x) + (1.0 if int(x.shape[0]) > 2 else 0.0)


def test_an_export_that_differs_from_torch_leaves_nothing(tmp_path: Path) -> None:
    heads = tiny_heads()
    heads.mask_decoder = MoodyDecoder(12, base_channels=4, upsample_to=16)
    facts = facts_of(heads, device="cpu", precision="float32", providers=(CPU,))
    folder = folder_for(tmp_path / "cache", facts)
    with pytest.raises(CheckpointError, match=r"within 1e-03 of torch, got 1\.0e\+00 .*not|kept"):
        loading.built(heads, folder, facts, ON_CPU)
    assert not folder.exists()
    with pytest.raises(CheckpointError, match="mask_decoder"):
        export.export_to(tmp_path / "out", heads, "float32")
    assert list((tmp_path / "out").iterdir()) == []


# The cache.


def test_the_folder_depends_on_weights_precision_device_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = tiny_heads()

    def folder(precision: str = "float32", providers: tuple[str, ...] = (CPU,)) -> Path:
        facts = facts_of(heads, device="cpu", precision=precision, providers=providers)
        return folder_for(tmp_path, facts)

    first = folder()
    assert folder() == first
    found = {first, folder(precision="float16"), folder(providers=(CUDA, CPU))}
    with monkeypatch.context() as patch:
        patch.setattr("flmm_ros.engine.onnx.cache.version", lambda package: "0.0")
        found.add(folder())
    with torch.no_grad():
        heads.text_proj.bias[0] += 1e-6
    found.add(folder())
    assert len(found) == 5


def test_a_cache_is_trusted_until_a_file_changes(exported: tuple[Path, Facts]) -> None:
    folder, facts = exported
    assert distrust(folder, facts) is None
    assert not loading.built(tiny_heads(), folder, facts, ON_CPU)  # nothing to do

    def reason_after(path: Path, content: bytes) -> str:
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        reason = distrust(folder, facts)
        path.unlink() if before is None else path.write_bytes(before)
        assert distrust(folder, facts) is None
        return reason or ""

    graph, manifest = folder / "image_encoder.onnx", folder / MANIFEST
    older = manifest.read_text().replace(onnxruntime.__version__, "1.0.0")
    assert reason_after(graph, graph.read_bytes()[:-1]) == "image_encoder.onnx changed since"
    assert "engines/x.engine changed" in reason_after(folder / "engines" / "x.engine", b"foreign")
    assert "onnxruntime was '1.0.0'" in reason_after(manifest, older.encode())
    assert reason_after(manifest, b"{") == "its manifest is damaged"


def test_what_cannot_be_trusted_is_built_anew(exported: tuple[Path, Facts]) -> None:
    folder, facts = exported
    graph = folder / "mask_decoder.onnx"
    graph.write_bytes(b"not a graph")
    (folder / "engines" / "foreign.engine").write_bytes(b"not ours")
    assert loading.built(tiny_heads(), folder, facts, ON_CPU)
    assert distrust(folder, facts) is None
    assert not (folder / "engines" / "foreign.engine").exists()
    (folder / MANIFEST).unlink()  # as after a power cut
    assert distrust(folder, facts) == "it was not finished"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="refiner_cache: expected a folder .*file"):
        folder_for(tmp_path / "file", {})


# What runs them.


@pytest.mark.parametrize(
    ("device", "available", "precision", "providers", "chosen_precision", "warns"),
    [
        ("cpu", (TENSORRT, CUDA, CPU), "auto", (CPU,), "float32", ""),
        ("cpu", (CPU,), "float16", (CPU,), "float16", ""),
        ("cuda", (CPU, CUDA, TENSORRT), "auto", (TENSORRT, CUDA, CPU), "float16", ""),
        ("cuda:1", (TENSORRT, CUDA, CPU), "float32", (TENSORRT, CUDA, CPU), "float32", ""),
        ("cuda", (CUDA, CPU), "auto", (CUDA, CPU), "float16", f"on {CUDA}, not on {TENSORRT}"),
        ("cuda", ("Azure", CPU), "auto", (CPU,), "float32", f"on {CPU}, not on {TENSORRT}"),
    ],
)
def test_the_best_provider_that_is_there_is_chosen(
    device: str,
    available: tuple[str, ...],
    precision: str,
    providers: tuple[str, ...],
    chosen_precision: str,
    warns: str,
) -> None:
    choice = choose(device, available, precision)
    assert (choice.providers, choice.precision) == (providers, chosen_precision)
    assert choice.device_id == (1 if device == "cuda:1" else 0)
    assert warns in choice.warning and bool(choice.warning) == bool(warns)


def test_an_onnx_runtime_without_a_cpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected an ONNX Runtime with CPU"):
        choose("cpu", ["Other"], "auto")


@pytest.mark.parametrize(
    "choice", [choose("cuda", [CPU], "auto"), Choice((TENSORRT, CUDA, CPU), "float32")]
)
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_missing_provider_is_said_once_and_the_rest_works(
    choice: Choice, exported: tuple[Path, Facts], caplog: pytest.LogCaptureFixture
) -> None:
    """The second: what ONNX Runtime promised and then could not open."""
    ours = loading.opened(tiny_heads(), exported[0], choice)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1 and f"heads run on {CPU}, not on" in warnings[0]
    assert ours.backend == "onnx: CPUExecutionProvider (float32)"
    assert ours.decode(torch.rand(1, 12, 6, 6)).shape == (1, 16, 16)


def test_engines_are_built_for_every_size_that_will_come() -> None:
    assert tensorrt_profile({}) == {}
    assert tensorrt_profile({"boxes": ["N", 4], "cues": ["N", "T", 32]}) == {
        "trt_profile_min_shapes": "boxes:1x4,cues:1x1x32",
        "trt_profile_opt_shapes": "boxes:2x4,cues:2x4x32",
        "trt_profile_max_shapes": "boxes:8x4,cues:8x256x32",
    }


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"package onnxruntime, .*pip install 'flmm_ros\[onnx\]'"):
        loading.chosen("cpu", "auto")


# Whether it may be used.


def change_weights(
    folder: Path, name: str, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> None:
    """Rewrites the matrices and kernels of a graph."""
    path = folder / f"{name}.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and values.ndim > 1:
            changed = change(values).astype(values.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
    onnx.save(model, path)


def coarsely(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two bits of mantissa, instead of float16's ten."""
    mantissa, exponent = np.frexp(values.astype(np.float32))
    return np.ldexp(np.round(mantissa * 4) / 4, exponent)


def test_float16_that_draws_the_same_masks_is_accepted(halved: Path) -> None:
    heads = tiny_heads()
    ours = loading.opened(heads, halved, HALF_ON_CPU)
    agreement = require_equal_masks(heads, ours, "float16")
    assert agreement.iou >= 0.98 and 1e-5 < agreement.feature_error < 5e-3
    for name in GRAPHS:
        kernels = [
            t for t in onnx.load(halved / f"{name}.onnx").graph.initializer if len(t.dims) > 1
        ]
        kind = onnx.TensorProto.FLOAT if name == "mask_decoder" else onnx.TensorProto.FLOAT16
        assert {t.data_type for t in kernels if t.data_type in FLOATS} == {kind}


@pytest.mark.parametrize("name", GRAPHS)
def test_precision_that_changes_what_is_drawn_is_refused(
    name: str, halved: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(halved, tmp_path / "halved")
    change_weights(folder, name, coarsely)
    heads = tiny_heads()
    ours = loading.opened(heads, folder, HALF_ON_CPU)
    with pytest.raises(
        CheckpointError, match=r"IoU at least 0\.98.*got IoU 0\.\d+.*refiner_precision: float32$"
    ):
        require_equal_masks(heads, ours, "float16")


def test_float16_that_loses_the_features_is_refused(tmp_path: Path) -> None:
    """Untrained weights of a SAM ViT are so small that squares of them vanish in float16."""
    heads = sam_heads()
    export_graphs(heads, tmp_path, {}, half=True)
    ours = loading.opened(heads, tmp_path, HALF_ON_CPU)
    with pytest.raises(CheckpointError, match=r"features [01]\.\d+ apart; set refiner_precision"):
        require_equal_masks(heads, ours, "float16")


@pytest.mark.parametrize("name", GRAPHS)
def test_numbers_that_are_none_are_refused(
    name: str, exported: tuple[Path, Facts], tmp_path: Path
) -> None:
    folder = shutil.copytree(exported[0], tmp_path / "copy")
    change_weights(folder, name, lambda values: values * np.nan)
    heads = tiny_heads()
    with pytest.raises(CheckpointError, match="refiner_backend: torch"):
        require_equal_masks(heads, loading.opened(heads, folder, ON_CPU), "float32")


def test_agreement_is_the_worst_phrase_and_score() -> None:
    logits = torch.arange(100.0).reshape(1, 10, 10).repeat(2, 1, 1)
    shifted = logits.clone()
    shifted[1, 5] -= 20.0  # the ten just above the middle fall below it
    features = torch.ones(1, 4, 5, 5)
    one = Masks(features, logits, logits, torch.tensor([0.5, 0.5]))
    other = Masks(1.25 * features, logits, shifted, torch.tensor([0.5, 0.4]))
    agreement = compare(one, other)
    assert agreement.iou == pytest.approx(40 / 50)
    assert agreement.score_error == pytest.approx(0.1)
    assert agreement.feature_error == pytest.approx(0.25)
    assert compare(one, one).suffices and not agreement.suffices


# From a configuration, and from the command line.


def test_the_whole_way_gives_the_masks_of_torch(
    model_dir: Path, tmp_path: Path, image: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config = GrounderConfig(model=str(model_dir), device="cpu")
    onnx_config = dataclasses.replace(
        config, refiner_backend="onnx", refiner_cache=str(tmp_path / "cache")
    )
    phrases = ["the red mug", "the ball"]
    wanted = Grounder.from_config(config).open(image).ground(phrases)
    for expected in ("nothing was made yet", ""):  # the second time it is there
        caplog.clear()
        grounder = Grounder.from_config(onnx_config)
        assert ("exporting heads" in caplog.text) == bool(expected) and expected in caplog.text
        assert grounder.backend == "onnx: CPUExecutionProvider (float32)"
        for want, got in zip(wanted, grounder.open(image).ground(phrases), strict=True):
            np.testing.assert_allclose(got.soft_mask, want.soft_mask, atol=1e-4)
            assert got.score == pytest.approx(want.score, abs=1e-4)
    assert "heads on onnx: CPUExecutionProvider (float32) agree with torch: IoU" in caplog.text


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="exit code 2: export: device: expected one of 0 GPU"):
        loading._build_elsewhere(tiny_heads(), tmp_path / "key", "cuda:99", "auto")


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "heads.safetensors", tmp_path / "out"
    save_heads(file, tiny_heads(), {"made": "by a test"})
    arguments = [str(file), "--device", "cpu", "--out", str(out), "--time"]
    assert (
        run_command(
            export_command, [*arguments, "--build-only", "--cache", str(tmp_path / "cache")]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert {p.name for p in out.iterdir()} == {f"{name}.onnx" for name in GRAPHS}
    assert "of torch" in printed and ": built" in printed and "torch/onnx" in printed
    assert run_command(export_command, ["nowhere", "--out", str(out)]) == 2
    assert "export: model: expected" in capsys.readouterr().err
    assert run_command(export_command, [str(file)]) == 2
    assert "expected --out DIR, --build-only or --time" in capsys.readouterr().err
