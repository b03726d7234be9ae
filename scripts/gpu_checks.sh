#!/usr/bin/env bash
# What to run on a machine with a GPU, after `make setup` or with any Python that has torch, transformers and
# what pyproject.toml names:
#
#   scripts/gpu_checks.sh FOLDER
#
# The tests of tests/gpu, then two benchmarks on models of 7B parameters (random weights, real shapes; 40 GB of GPU
# memory): commands beside a straightforward implementation, and a step of training. Logs, JSON and summary.txt go to
# FOLDER. Every part has its own time limit, and the next ones run
# whatever comes of it. Without a GPU, FLMM_GPU_TESTS_DEVICE=cpu tries the same parts on a CPU with tiny models.
# Exit status: 0 where every part passed.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ $# -ne 1 ]; then echo "usage: scripts/gpu_checks.sh FOLDER" >&2; exit 2; fi
mkdir -p "$1" && out=$(cd "$1" && pwd) && cd "$root" || exit 2
# shellcheck disable=SC1091
if [ -f install/local_setup.bash ]; then . scripts/env.sh || exit 2
else export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"; fi
python=${PYTHON:-$(command -v python || command -v python3)}
device=${FLMM_GPU_TESTS_DEVICE:-cuda}
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4} TOKENIZERS_PARALLELISM=false

# part NAME SECONDS COMMAND...: runs it, the log to NAME.log, its exit status and seconds to NAME.status
part() {
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  timeout --kill-after=10 "$limit" "$@" >"$out/$name.log" 2>&1
  echo "$? $((SECONDS - start)) $limit" >"$out/$name.status"
}

tests() { part "$1" "$2" "$python" -m pytest -q --durations=5 -p no:cacheprovider "${@:3}"; }

line() {  # NAME: a line of the table
  local code seconds limit verdict last
  read -r code seconds limit <"$out/$1.status"
  last=$(tail -n 1 "$out/$1.log" | tr -d '─└┴┘' | cut -c1-100)
  case "$last" in *passed*) ;; *skipped*) code=skipped ;; esac
  case $code in
    skipped) verdict="NOT RUN" ;;
    0) verdict=passed ;;
    124 | 137) verdict="STOPPED after $limit s" ;;
    *) verdict="FAILED ($code)" ;;
  esac
  printf '%-10s %-20s %5s s   %s\n' "$1" "$verdict" "$seconds" "$last"
  rm "$out/$1.status"
  [ "$code" = 0 ] || failed+=("$1")
}

facts() {
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo "no nvidia-smi here"
  "$python" -c 'import accelerate, platform, torch, transformers
print("python", platform.python_version(), "torch", torch.__version__, "transformers", transformers.__version__,
      "accelerate", accelerate.__version__, "cuda", torch.version.cuda, "GPU there:", torch.cuda.is_available())'
}

facts 2>&1 | tee "$out/summary.txt"
engine=(tests/gpu/test_cuda_{embedded,families,golden,memory,bench,onnx}.py)
if [ "$device" = cuda ] && [ "$(nproc)" -ge 8 ]; then beside=yes; else beside=; fi
tests engine 240 "${engine[@]}" & [ $beside ] || wait
tests training 240 tests/gpu/test_cuda_training.py & [ $beside ] || wait
tests compile "${FLMM_GPU_COMPILE_S:-240}" tests/gpu/test_cuda_compile.py & wait
# Alone: they measure time.
commands=("$python" -m benchmarks.engine --device "$device" --shape 7b --warm-up --json "$out/bench.json")
step=("$python" -m benchmarks.training.step --device "$device" --json "$out/step.json")
if [ "$device" = cpu ]; then commands+=(--rounds 1 --quick) step+=(--batches "1,2" --steps 2 --quick)
else commands+=(--rounds 6); fi
part bench 240 "${commands[@]}"
part step 120 "${step[@]}"

failed=()
for name in engine training compile bench step; do line "$name"; done >"$out/table.txt"
grep -h -A99 '= measured on' "$out"/{engine,training,compile}.log | grep ' = '  # numbers, beside the verdicts
for name in bench step; do grep -v '^ *$' "$out/$name.log" | tail -n 60; done
for name in "${failed[@]}"; do printf '\n%s.log ends:\n' "$name"; tail -n 40 "$out/$name.log" | cut -c1-200; done
echo
tee -a "$out/summary.txt" <"$out/table.txt" && rm "$out/table.txt"
[ ${#failed[@]} -eq 0 ]
