#!/usr/bin/env bash
# Runs, on a machine with a CUDA device, what scripts/gpu_pack.sh has packed on one without. From the unpacked archive:
#
#   ./scripts/gpu_check.sh check [RESULTS]     the cases with bars, all tests, the hardware probe, the Python package's
#                                              tests, PyTorch and its peers beside vlp, all other cases
#   ./scripts/gpu_check.sh profile [RESULTS]   compute-sanitizer and Nsight Compute on vlp's kernels, sizes of blocks
#
# Time on a card is short: what is wanted most comes first, each step has its own limit and ends in it, a step that fails
# stops no other, and results are written anew after each. RESULTS (build/gpu_check) gets check.txt or profile.txt, a
# line for each step and what it said, and beside it what was measured as JSON: eight files at most. Needs no network;
# Python with PyTorch (PYTHON names it) for the comparison and the Python package alone. Ends within VLP_GPU_CHECK_SECONDS (280, and 170 for the
# profile) whatever hangs; with 1 where a step failed, with 2 where it was called wrongly.
#
# Results worth keeping are committed as benchmarks/results/cuda_CARD/.
set -euo pipefail

usage() {
  echo "usage: gpu_check.sh check|profile [RESULTS]" >&2
  exit 2
}
(($# == 1 || $# == 2)) || usage
mode=$1
[[ $mode == check || $mode == profile ]] || usage
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
cd "$root"
results=$(realpath -m "${2:-build/gpu_check}")
programs=$root/pack/programs
if [[ ! -d $programs ]]; then
  echo "gpu_check.sh: there is no $programs; run it in the folder that scripts/gpu_pack.sh has packed" >&2
  exit 2
fi
PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
default_seconds=280
if [[ $mode == profile ]]; then default_seconds=170; fi
seconds=${VLP_GPU_CHECK_SECONDS:-$default_seconds}
python=${PYTHON:-python3}
commit=$(cat pack/commit 2>/dev/null || echo unknown)
# Where Python's packages lie, and among them PyTorch and CUDA's libraries.
site=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null || true)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$results"
text=$results/$mode.txt
summary=() # a line for each step
all_well=yes
card= capability= driver=
: >"$work/body.txt"

# Everything so far, without the paths of this machine and of the one that compiled the programs.
write_results() {
  {
    printf '%s\n' "vlp on a CUDA device, $mode: ${card:-no card found}" "" "${summary[@]}" ""
    cat "$work/body.txt"
  } | sed -E -e "s|$results/||g" -e "s|$root/||g" -e "s|$work/||g" -e 's#/[^ :]*/(tests|include/vlp|cuda/vlp|benchmarks)/#\1/#g' >"$text"
}

# conclude NAME OUTCOME: a line of the summary. What is neither "ok" nor "left out" is a failure.
conclude() {
  [[ $2 == ok* || $2 == "left out"* ]] || all_well=no
  summary+=("$(printf '%-28s %s' "$1" "$2")")
  echo "${summary[-1]}"
  write_results
}

# report NAME FILE [LINES]: the file becomes a part of the results, its end alone where it is longer.
report() {
  {
    printf '\n== %s\n\n' "$1"
    if (($(wc -l <"$2") > ${3:-400})); then echo "(the last ${3:-400} lines)"; fi
    tail -n "${3:-400}" "$2"
  } >>"$work/body.txt"
  write_results
}

# step NAME LIMIT COMMAND...: runs a command into $work/NAME.log for at most LIMIT seconds of the usual time, and no longer
# than there is time at all.
step() {
  local name=$1 limit=$(($2 * seconds / default_seconds)) status=0 begin=$SECONDS
  shift 2
  local left=$((seconds - 2 - SECONDS))
  limit=$((limit < 1 ? 1 : limit))
  limit=$((limit < left ? limit : left))
  local log=$work/${name// /_}.log
  if ((limit < 1)); then
    : >"$log"
    conclude "$name" "left out: no time was left"
    return 1
  fi
  timeout -k 3 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
  local taken=$((SECONDS - begin))
  case $status in
    0) conclude "$name" "ok, $taken s" ;;
    124 | 137) conclude "$name" "stopped after $taken s" ;;
    *) conclude "$name" "failed (status $status), $taken s" ;;
  esac
  return "$status"
}

# What the results begin with. One query: nvidia-smi takes a second each time.
describe_machine() {
  local fields=name,compute_cap,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu,power.draw
  local said
  said=$(timeout 20 nvidia-smi --query-gpu=$fields --format=csv,noheader 2>/dev/null | head -n 1) || true
  IFS=, read -r card capability driver _ <<<"$said"
  card=${card# } capability=${capability# } driver=${driver# }
  {
    echo "date       $(date -u +%Y-%m-%d)"
    echo "commit     $commit"
    echo "card       ${said:-nvidia-smi is not there or finds none} ($fields)"
    echo "processor  $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    "$python" -c 'import platform, importlib.metadata as m
print("Python    ", platform.python_version(), "PyTorch", m.version("torch"))' 2>/dev/null || echo "Python     without PyTorch"
  } >"$work/machine.log"
  report machine "$work/machine.log"
  cat "$work/machine.log"
}

# The libraries of CUDA that the programs were linked with: the toolkit's, else those that PyTorch's wheels bring along.
find_libraries() {
  local folder missing
  for folder in "${CUDA_HOME:-/usr/local/cuda}/lib64" "$site"/nvidia/*/lib; do
    missing=$(missing_libraries)
    [[ -n $missing ]] || break
    if [[ -d $folder ]]; then export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder; fi
  done
  missing=$(missing_libraries)
  if [[ -n $missing ]]; then
    conclude libraries "failed: there is no $missing"
    return 1
  fi
  conclude libraries "ok"
}
missing_libraries() {
  # Those of the Python package are loaded beside tvm-ffi's, by Python.
  find "$programs" -type f ! -name 'libvlp_ffi*' -exec ldd {} + 2>/dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' | sort -u | paste -sd ' ' | sed 's/ /, /g'
}

# Reads PyTorch's files into memory, and installs the wheels that were packed, while the device is busy with other things.
prepare_python() {
  [[ -n $site ]] || return 0
  if compgen -G "pack/wheels/*.whl" >/dev/null; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$work/site" pack/wheels/*.whl \
      >"$work/wheels.log" 2>&1 || true
  fi
  find "$site/torch/lib" "$site"/nvidia/*/lib -name '*.so*' -exec cat {} + >/dev/null 2>&1 || true
}

# The benchmark for this card, built here: compiles a source at a time on each processor, then links them.
build_here() {
  mkdir -p "$work/objects"
  printf '%s\n' benchmarks/losses_cuda.cpp benchmarks/losses_cuda/*.cpp benchmarks/losses_cuda/support/*.cpp |
    xargs -P "$(nproc)" -I{} nvcc -O3 -std=c++20 -lineinfo -arch="sm_${capability/./}" -DEIGEN_NO_CUDA -Iinclude -Icuda \
      -Ibenchmarks -Ipack/headers -x cu -c -odir "$work/objects" {} &&
    nvcc -Xlinker --wrap=cudaMalloc,--wrap=cudaFree -o "$programs/benchmark_losses_cuda" "$work"/objects/*.o -lcublas
}

# benchmark NAME LIMIT OPTIONS...: one process of the benchmark, whose rows are added to losses.json.
benchmark() {
  local name=$1 limit=$2 json=$work/rows/$((++benchmarks)).json status=0
  shift 2
  mkdir -p "$work/rows"
  step "$name" "$limit" "$programs/benchmark_losses_cuda" "$@" --json "$json" --note date="$(date -u +%Y-%m-%d)" \
    --note driver="$driver" --note commit="$commit" || status=$?
  local log=$work/${name// /_}.log
  # Of all tables but the first the rows alone.
  if ((benchmarks > 1 && status <= 1)); then sed -i '/^|/!d; /^| loss /d; /^|---/d' "$log"; fi
  report "$name" "$log"
  merge_rows
}
benchmarks=0
merge_rows() {
  "$python" - "$results/${mode}_losses.json" "$work"/rows/*.json <<'END' 2>/dev/null || true
import json, sys
parts = []
for name in sys.argv[2:]:
    try:
        with open(name) as file:
            parts.append(json.load(file))
    except (OSError, ValueError):  # a process that was stopped as it wrote
        pass
if parts:
    lines = [json.dumps(row) for part in parts for row in part["rows"]]
    head = {key: parts[0][key] for key in ("context", "ceilings")}
    with open(sys.argv[1], "w") as file:
        file.write(json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n")
END
}

run_tests() {
  export VLP_GOLDEN_DIR=$root/tests/golden
  local status=0
  step tests 90 "$programs/test_cuda" --durations yes || status=$?
  cp "$work/tests.log" "$results/tests.log"
  grep -vE '^[0-9.]+ s: ' "$work/tests.log" >"$work/tests_short.log" || true
  report tests "$work/tests_short.log" 300
}

probe() {
  local program=$programs/hardware_probe
  if [[ ! -x $program ]]; then
    conclude probe "left out: it was not packed"
    return
  fi
  step probe 20 "$program" "$results/hardware.bin" || true
  report probe "$work/probe.log"
}

# The tests of vlp.torch on CUDA tensors.
check_python() {
  wait "$preparing" 2>/dev/null || true
  if [[ ! -e $programs/libvlp_ffi_cuda.so ]]; then
    conclude python "left out: libvlp_ffi_cuda.so was not packed"
    return
  fi
  local package
  for package in torch tvm_ffi pytest; do
    if ! PYTHONPATH=$work/site "$python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$package') is None)" 2>/dev/null; then
      conclude python "left out: $python has no $package"
      return
    fi
  done
  PYTHONPATH=$root/bindings/python:$work/site VLP_LIBRARY_DIR=$programs LD_LIBRARY_PATH=$programs:${LD_LIBRARY_PATH:-} \
    step python 45 "$python" -m pytest -q -rs -p no:cacheprovider tests/python/gpu || true
  report python "$work/python.log" 100
}

compare() {
  local bridge=$programs/libvlp_pytorch_bridge_cuda.so
  wait "$preparing" 2>/dev/null || true
  if [[ -s $work/wheels.log ]]; then report wheels "$work/wheels.log" 20; fi
  if ! "$python" -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null; then
    conclude comparison "left out: $python has no PyTorch"
    return
  fi
  # The same limit as step() has in the end: it ends by itself some seconds before, with a table of what it has.
  local limit=$((115 * seconds / default_seconds)) left=$((seconds - 10 - SECONDS))
  limit=$((limit < left ? limit : left))
  if ((limit < 20)); then
    conclude comparison "left out: no time was left"
    return
  fi
  local unscaled=$(((limit * default_seconds + seconds - 1) / seconds))
  VLP_COMMIT=$commit PYTHONPATH=$work/site \
    step comparison "$unscaled" "$python" benchmarks/compare_pytorch.py --device cuda --bridge "$bridge" \
    --time-limit $((limit - 3)) --output "$results/pytorch" || true
  report comparison "$work/comparison.log"
}

check() {
  prepare_python &
  preparing=$!
  step example 25 "$programs/losses_cuda" || report example "$work/example.log" 20
  if ! "$programs/benchmark_losses_cuda" --list >/dev/null 2>"$work/start.log"; then
    report "the benchmark does not start" "$work/start.log" 20
    export programs work capability
    step "build here" 130 bash -c "$(declare -f build_here); build_here" || true
    report "build here" "$work/build_here.log" 60
  fi
  step "first tests" 25 env VLP_GOLDEN_DIR="$root/tests/golden" "$programs/test_cuda" \
    "CUDA tile product*,CUDA sums*,info_nce agrees with the golden vectors*" || report "first tests" "$work/first_tests.log" 100
  local loss
  for loss in $(list_losses --bars); do benchmark "bars $loss" 20 --only "$loss" --bars; done
  run_tests
  probe
  check_python
  compare
  for loss in $(list_losses --no-bars); do benchmark "others $loss" 20 --only "$loss" --no-bars; done
}
list_losses() {
  timeout 20 "$programs/benchmark_losses_cuda" --list "$1" 2>/dev/null || true
}

# Small tests of every kernel; a tool makes them many times slower.
sanitize() {
  if ! command -v compute-sanitizer >/dev/null; then
    conclude sanitizer "left out: compute-sanitizer is not there"
    return
  fi
  local tool filter=()
  if compute-sanitizer --help 2>/dev/null | grep -q -- --kernel-regex; then filter=(--kernel-regex kns=vlp); fi
  for tool in memcheck racecheck; do
    # Some tests ask for what cannot be, so what CUDA refuses is no error here.
    local options=(--tool "$tool" --error-exitcode 99 --print-limit 10 "${filter[@]}")
    if [[ $tool == memcheck ]]; then options+=(--report-api-errors no); fi
    step "$tool" 40 env VLP_GOLDEN_DIR="$root/tests/golden" compute-sanitizer "${options[@]}" "$programs/test_cuda" \
      "*agrees with the golden vectors*,the multi-scale objective is the weighted sum*,CUDA tile product*,CUDA sums*" || true
    report "$tool" "$work/$tool.log" 60
  done
}

# nsight NAME OPTIONS... -- BENCHMARK OPTIONS...: what Nsight Compute says of one step of a case, as CSV.
nsight() {
  local name=$1 options=()
  shift
  while [[ $1 != -- ]]; do options+=("$1") && shift; done
  shift
  step "$name" 30 ncu --clock-control none --profile-from-start off --csv "${options[@]}" \
    "$programs/benchmark_losses_cuda" --profile "$@" || true
  local log=$work/${name// /_}.log
  grep '^"' "$log" >"$work/csv" || { report "$name" "$log" 20 && return 1; }
}
# kernel_times NAME OPTIONS...: the time of each kernel in a step, launches of the same one added up.
kernel_times() {
  local name="kernels of $1"
  shift
  nsight "$name" --metrics gpu__time_duration.sum -- "$@" || return 0
  "$python" - "$work/csv" >"$work/table" <<'END' || true
import csv, re, sys
times = {}
for row in csv.DictReader(open(sys.argv[1])):
    value = float(row["Metric Value"].replace(",", "")) * {"ns": 1e-3, "us": 1, "ms": 1e3}.get(row["Metric Unit"].strip(), 1)
    name = re.sub(r"^void |\(.*", "", row["Kernel Name"])[:70]
    times.setdefault(name, []).append(value)
total = sum(map(sum, times.values()))
print(f"{'kernel':70} {'launches':>8} {'us':>10} {'share':>7}")
for name, all_of_it in sorted(times.items(), key=lambda item: -sum(item[1])):
    print(f"{name:70} {len(all_of_it):8} {sum(all_of_it):10.1f} {100 * sum(all_of_it) / total:6.1f}%")
print(f"{'all':70} {sum(map(len, times.values())):8} {total:10.1f}")
END
  report "$name" "$work/table"
}
# counters NAME KERNELS OPTIONS...: what holds one launch of each of the kernels.
counters() {
  local name="counters of $1" kernels=$2 count
  shift 2
  count=$(tr -cd '|' <<<"$kernels" | wc -c)
  nsight "$name" --kernel-name "regex:^($kernels)" --launch-count $((count + 1)) --section SpeedOfLight \
    --section MemoryWorkloadAnalysis --section SchedulerStats --section WarpStateStats --section Occupancy \
    --section LaunchStats -- "$@" || return 0
  { echo "# $name" && cat "$work/csv"; } >>"$results/counters.csv"
}
profile_kernels() {
  if ! command -v ncu >/dev/null; then
    PATH=$PATH:$(compgen -G "/opt/nvidia/nsight-compute/*" | tail -n 1)
  fi
  if ! command -v ncu >/dev/null; then
    conclude kernels "left out: ncu is not there"
    return
  fi
  : >"$results/counters.csv"
  local pairs=(--only info_nce --bars --shape B=4096) tokens=(--only token_cross_entropy --bars)
  local regions=(--only local_alignment --bars --shape B=64) sigmoid=(--only pairwise_sigmoid --shape B=4096)
  kernel_times pairs "${pairs[@]}"
  kernel_times sigmoid "${sigmoid[@]}"
  kernel_times local "${regions[@]}"
  kernel_times tokens "${tokens[@]}"
  kernel_times "token alignment" --only token_alignment --shape D=768
  counters scores take_scores "${pairs[@]}"
  counters "their gradient" differentiate_scores "${pairs[@]}"
  counters sigmoids take_sigmoids "${sigmoid[@]}"
  counters attention "attend" --only local_alignment --bars --shape B=512
  counters "its gradient" "differentiate_attention|differentiate_few" --only local_alignment --bars --shape B=512
  counters logits take_logits "${tokens[@]}"
  counters "their gradient's products" differentiate_logits "${tokens[@]}"
}

sweep_blocks() {
  local size
  for size in 4 8 32 64; do
    benchmark "block $size MiB pairs" 15 --only info_nce --bars --shape B=32768 --score-block-mib "$size"
    benchmark "block $size MiB sigmoid" 15 --only pairwise_sigmoid --shape B=32768 --score-block-mib "$size"
    benchmark "block $size MiB local" 15 --only local_alignment --bars --shape B=512 --score-block-mib "$size"
  done
}

profile() {
  profile_kernels
  sweep_blocks
  sanitize
}

describe_machine
if [[ -z $card ]]; then
  conclude device "failed: none, tests and times need a GPU"
elif find_libraries; then
  "$mode"
fi
write_results
echo "results: $text"
[[ $all_well == yes ]]
