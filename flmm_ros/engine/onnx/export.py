"""Exports trained heads to ONNX, fills the cache of the ONNX backend, and times it against torch.

    python -m flmm_ros.engine.onnx.export tabletop --out out/onnx
    python -m flmm_ros.engine.onnx.export tabletop --build-only --device cuda
    python -m flmm_ros.engine.onnx.export tabletop --time

Does not know about: language models, ROS.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from flmm_ros.engine.config import GrounderConfig, ModelConfig, find_model
from flmm_ros.engine.errors import ConfigError, FlmmError
from flmm_ros.engine.grounder import load_model_heads, usable_device
from flmm_ros.engine.heads.trained import AnyHeads, Heads
from flmm_ros.engine.onnx.cache import facts_of, folder_for
from flmm_ros.engine.onnx.check import IMAGE_HW, Inputs, made_up_inputs, require_equal_masks
from flmm_ros.engine.onnx.graphs import OPSET, export_graphs
from flmm_ros.engine.onnx.loading import built, chosen, opened

_ROUNDS = 15


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not (args.out or args.build_only or args.time):
        parser.error("expected --out DIR, --build-only or --time")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        device = usable_device(args.device)
        if args.out:
            export_to(args.out, _heads(args.model), args.precision)
        if args.build_only:
            fill_cache(_heads(args.model), device, args.precision, args.cache)
        if args.time:
            print_times(_heads(args.model), device, args.precision)
    except (FlmmError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    return 0


def export_to(out: Path, heads: Heads, precision: str) -> None:
    """Writes the graphs into a folder, for whatever reads ONNX: all of them, or none.

    They are the same for every device, and looked at on the CPU.
    """
    choice = chosen("cpu", precision)
    facts = facts_of(heads, device="cpu", precision=choice.precision, providers=choice.providers)
    out.mkdir(parents=True, exist_ok=True)
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=out) as temporary:
        folder = Path(temporary)
        differences = export_graphs(heads, folder, facts, half=choice.precision == "float16")
        require_equal_masks(heads, opened(heads, folder, choice), choice.precision)
        for file in folder.iterdir():
            file.replace(out / file.name)
    for name, apart in differences.items():
        size_mb = (out / f"{name}.onnx").stat().st_size / 1e6
        print(f"{out / name}.onnx  {size_mb:.1f} MB, float32 within {apart:.1e} of torch")
    print(f"opset {OPSET}, {choice.precision}, {time.monotonic() - start_s:.0f} s")


def fill_cache(heads: Heads, device: str, precision: str, cache: str) -> None:
    """Makes what `refiner_backend: onnx` would otherwise make when the model is loaded."""
    choice = chosen(device, precision)
    facts = facts_of(heads, device=device, precision=choice.precision, providers=choice.providers)
    folder = folder_for(cache, facts)
    was_made = built(heads, folder, facts, choice)
    print(f"{folder}: {'built' if was_made else 'was there already'}")


def print_times(heads: Heads, device: str, precision: str) -> None:
    """Torch beside ONNX Runtime: interleaved rounds, medians, the median of the rounds' ratios."""
    choice = chosen(device, precision)
    with tempfile.TemporaryDirectory() as folder:
        export_graphs(heads, Path(folder), {}, half=choice.precision == "float16")
        heads = heads.to(device)
        ours = opened(heads, Path(folder), choice)
        require_equal_masks(heads, ours, choice.precision)
        inputs = made_up_inputs(heads)
        print(f"{len(inputs.states)} phrases, {torch.get_num_threads()} threads, {ours.backend}")
        print(f"{'':10} {'torch ms':>9} {'onnx ms':>9} {'torch/onnx':>11}")
        calls = zip(_stages(heads, inputs), _stages(ours, inputs), strict=True)
        for (stage, theirs), (_, mine) in calls:
            rounds = [(_timed_ms(theirs), _timed_ms(mine)) for _ in range(_ROUNDS)]
            theirs_ms, mine_ms = (statistics.median(each) for each in zip(*rounds, strict=True))
            ratio = statistics.median(a / b for a, b in rounds)
            print(f"{stage:10} {theirs_ms:9.2f} {mine_ms:9.2f} {ratio:11.2f}")


def _stages(heads: AnyHeads, inputs: Inputs) -> Iterator[tuple[str, Callable[[], object]]]:
    with torch.inference_mode():
        features, coarse = heads.see(inputs.image), heads.decode(inputs.maps)
        cues = [heads.weighted_states(states) for states in inputs.states]
    yield "decode", lambda: heads.decode(inputs.maps)
    yield "see", lambda: heads.see(inputs.image)
    yield "refine", lambda: heads.refine(features, coarse, cues, IMAGE_HW)


@torch.inference_mode()
def _timed_ms(call: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start_s) * 1e3


def _heads(model: str) -> Heads:
    """Trained heads of a model, or of a head file alone, in torch on the CPU.

    Raises:
        ConfigError: the model has none.
    """
    is_file = Path(model).suffix == ".safetensors"
    config = ModelConfig(name=model, lmm="none", heads=model) if is_file else find_model(model)
    heads = load_model_heads(config, "cpu")
    if not isinstance(heads, Heads):
        raise ConfigError(f"model {model!r}: expected trained heads, got {config.heads}")
    return heads


def _parser() -> argparse.ArgumentParser:
    default = GrounderConfig()
    parser = argparse.ArgumentParser(
        prog="python -m flmm_ros.engine.onnx.export",
        description="Trained heads as ONNX graphs, compared with torch.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="name, YAML file, directory, or a head file (.safetensors)"
    )
    what = parser.add_argument_group("what to do, at least one")
    what.add_argument("--out", type=Path, metavar="DIR", help="write the graphs into a folder")
    what.add_argument(
        "--build-only",
        action="store_true",
        help="fill the cache of refiner_backend onnx (graphs, TensorRT engines) and exit",
    )
    what.add_argument("--time", action="store_true", help="time them against torch")
    parser.add_argument("--device", default=default.device, help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--precision",
        default=default.refiner_precision,
        choices=("auto", "float32", "float16"),
        help="auto: float32 on a CPU, float16 on a GPU",
    )
    parser.add_argument(
        "--cache", default=default.refiner_cache, metavar="DIR", help="as refiner_cache"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
