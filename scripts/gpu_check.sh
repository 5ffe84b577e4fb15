#!/usr/bin/env bash
# Builds everything that runs on a CUDA device and runs it on this machine's: tests, benchmark, comparison with PyTorch,
# and the smaller tests under compute-sanitizer.
#
#   ./scripts/gpu_check.sh HEADERS [RESULTS]
#
# Needs CUDA 12 or later, CMake, ninja, a C++ compiler and, for the comparison, Python with PyTorch (PYTHON names it), but
# no network: HEADERS is the folder that scripts/gpu_headers.sh makes on another machine. VLP_COMMIT names the commit
# where this is no clone, JOBS how many compilers run at once. Writes one text file, RESULTS
# (build/gpu_check/results.txt), anew after every part, and beside it what was timed as JSON; ends within
# VLP_GPU_CHECK_SECONDS (540) whatever hangs; goes on after a part that fails, and then ends with 1.
#
# Results worth keeping are committed: RESULTS as benchmarks/results/cuda_CARD.txt, the JSON files beside it.
set -euo pipefail

usage() {
  echo "usage: gpu_check.sh HEADERS [RESULTS]" >&2
  exit 2
}
(($# == 1 || $# == 2)) || usage
headers=$(realpath "$1")
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
work=$root/build/gpu_check
mkdir -p "$work"
results=$(realpath -m "${2:-$work/results.txt}")
cd "$root"

for file in Eigen/Core Random123/philox.h catch2/catch.hpp catch2/Catch.cmake catch2/CatchAddTests.cmake; do
  if [[ ! -e $headers/$file ]]; then
    echo "gpu_check.sh: there is no $file in $headers; scripts/gpu_headers.sh makes such a folder" >&2
    exit 2
  fi
done
PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
for program in nvcc cmake ninja timeout; do
  if ! command -v "$program" >/dev/null; then
    echo "gpu_check.sh: needs $program" >&2
    exit 2
  fi
done

seconds=${VLP_GPU_CHECK_SECONDS:-540}
jobs=${JOBS:-$(nproc)}
python=${PYTHON:-python3}
build=$work/cuda
# ask FIELD: what nvidia-smi says of the first GPU; nothing where there is none.
ask() {
  local said
  said=$(timeout 20 nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null) || return 0
  head -n 1 <<<"$said"
}
card=$(ask name)
capability=$(ask compute_cap)
pytorch=$(timeout 60 "$python" -c 'import platform, torch
print("Python", platform.python_version(), "PyTorch", torch.__version__)' 2>/dev/null || true)
commit=${VLP_COMMIT:-$(git describe --always --dirty 2>/dev/null || echo unknown)}
summary=() # a line for each part
all_well=yes
: >"$work/body.txt"

# Everything so far, without the paths of this machine.
write_results() {
  {
    printf '%s\n' "vlp on a CUDA device: ${card:-none found}" "" "${summary[@]}" ""
    cat "$work/body.txt"
  } | sed -e "s|$root/||g" -e "s|$headers|HEADERS|g" >"$results"
}

# conclude NAME OUTCOME: a line of the summary; anything but "ok" is a failure.
conclude() {
  [[ $2 == ok* ]] || all_well=no
  summary+=("$(printf '%-12s %s' "$1" "$2")")
  echo "${summary[-1]}"
  write_results
}

# report NAME FILE [LINES]: the file becomes a part of the results, its end alone where it is longer.
report() {
  {
    printf '\n== %s\n\n' "$1"
    if (($(wc -l <"$2") > ${3:-400})); then
      echo "(the last ${3:-400} lines)"
    fi
    tail -n "${3:-400}" "$2"
  } >>"$work/body.txt"
}

# part NAME LIMIT KEEP COMMAND...: runs a command into NAME.log for at most LIMIT seconds of 540, and so that KEEP are
# left.
part() {
  local name=$1 limit=$(($2 * seconds / 540)) keep=$(($3 * seconds / 540)) status=0 begin=$SECONDS
  shift 3
  local left=$((seconds - 10 - SECONDS - keep))
  limit=$((limit < left ? limit : left))
  if ((limit < 5)); then
    : >"$work/$name.log"
    conclude "$name" "left out: no time was left"
    return 1
  fi
  timeout -k 5 "$limit" "$@" >"$work/$name.log" 2>&1 || status=$?
  local taken=$((SECONDS - begin))
  case $status in
    0) conclude "$name" "ok, $taken s" ;;
    124 | 137) conclude "$name" "stopped after $taken s" ;;
    *) conclude "$name" "failed (status $status), $taken s" ;;
  esac
  return "$status"
}

# CMake packages of what HEADERS has.
write_packages() {
  local cmake=$work/packages/lib/cmake
  mkdir -p "$cmake/Eigen3" "$cmake/Catch2"
  cat >"$cmake/Eigen3/Eigen3Config.cmake" <<END
if(NOT TARGET Eigen3::Eigen)
  add_library(Eigen3::Eigen INTERFACE IMPORTED)
  set_target_properties(Eigen3::Eigen PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "$headers")
endif()
END
  cat >"$cmake/Catch2/Catch2Config.cmake" <<END
if(NOT TARGET Catch2::Catch2)
  add_library(Catch2::Catch2 INTERFACE IMPORTED)
  set_target_properties(Catch2::Catch2 PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "$headers")
  add_library(vlp_catch2_main STATIC "$cmake/Catch2/main.cpp")
  target_link_libraries(vlp_catch2_main PUBLIC Catch2::Catch2)
  add_library(Catch2::Catch2WithMain ALIAS vlp_catch2_main)
endif()
list(APPEND CMAKE_MODULE_PATH "$headers/catch2")
END
  printf '#define CATCH_CONFIG_MAIN\n#include <catch2/catch.hpp>\n' >"$cmake/Catch2/main.cpp"
  local name version
  for name in Eigen3=3.4 Catch2=2.13; do
    version=${name#*=}
    name=${name%=*}
    printf 'set(PACKAGE_VERSION %s)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\n' "$version" \
      >"$cmake/$name/${name}ConfigVersion.cmake"
  done
}

describe_machine() {
  echo "date       $(date -u +%Y-%m-%d)"
  echo "commit     $commit"
  if [[ -n $card ]]; then
    local field
    for field in name compute_cap driver_version memory.total clocks.sm clocks.max.sm clocks.mem temperature.gpu \
      power.draw; do
      printf '%-16s %s\n' "$field" "$(ask "$field")"
    done
  else
    echo "no GPU: nvidia-smi is not there or finds none"
  fi
  echo "processor  $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1), $(nproc) cores"
  nvcc --version | sed -n 's/^Cuda compilation/nvcc: Cuda compilation/p'
  cmake --version | head -n 1
  echo "${pytorch:-$python has no PyTorch}"
}

build_it() {
  # Line numbers for the sanitizer; they change no instruction.
  part configure 60 0 cmake --preset cuda -B "$build" -DVLP_BUILD_TESTS=ON -DVLP_BUILD_BENCHMARKS=ON -DVLP_INSTALL=OFF \
    -DCMAKE_CUDA_ARCHITECTURES="$1" -DCMAKE_CUDA_FLAGS=-lineinfo -DCMAKE_PREFIX_PATH="$work/packages" \
    -DCMAKE_INCLUDE_PATH="$headers" || {
    report configure "$work/configure.log" 60
    return 0
  }
  local status=0
  part build 300 190 cmake --build "$build" --parallel "$jobs" -- -k 0 || status=$?
  if ((status != 0)); then
    grep -vE '^\[|ptxas info|bytes stack frame|^--' "$work/build.log" >"$work/build_short.log" || true
    report build "$work/build_short.log" 150
  fi
  if ./scripts/kernel_resources.sh <"$work/build.log" 2>/dev/null | sed -n '/^kernel/,$p' >"$work/kernels.log" &&
    [[ -s $work/kernels.log ]]; then
    report kernels "$work/kernels.log" 200
  fi
}

run_tests() {
  part tests 90 150 ctest --test-dir "$build" --parallel "$jobs" --timeout 60 --no-tests=error --output-on-failure || true
  summary[-1]+=": $(grep 'tests passed' "$work/tests.log" || echo "not finished")"
  # Of what failed the first lines, and the list at the end.
  awk '/^ *Start |^Test project| Passed +[0-9.]+ sec/ { next }
       / Test +#[0-9]+: / { left = 40 }
       /tests passed, / { left = 1000 }
       left-- > 0' "$work/tests.log" >"$work/tests_short.log"
  report tests "$work/tests_short.log" 500
}

run_example() {
  part example 20 150 "$build/examples/losses_cuda" || true
  report example "$work/example.log"
}

run_benchmark() {
  local program=$build/benchmarks/benchmark_losses_cuda
  if [[ ! -x $program ]]; then
    conclude benchmark "left out: it was not built"
    return
  fi
  part benchmark 110 100 "$program" --json "${results%.txt}_losses.json" --note date="$(date -u +%Y-%m-%d)" \
    --note driver="$(ask driver_version)" --note commit="$commit" || true
  report benchmark "$work/benchmark.log"
}

compare() {
  local bridge=$build/benchmarks/libvlp_pytorch_bridge_cuda.so
  if [[ ! -e $bridge ]]; then
    conclude comparison "left out: its library was not built"
    return
  fi
  if [[ -z $pytorch ]]; then
    conclude comparison "left out: $python has no PyTorch"
    return
  fi
  # It ends by itself a little earlier, with a table of what it has: what has bars first, what is compiled last.
  local limit=$((150 * seconds / 540)) left=$((seconds - 10 - SECONDS - 50 * seconds / 540))
  part comparison 150 50 "$python" benchmarks/compare_pytorch.py --device cuda --bridge "$bridge" \
    --time-limit $(((limit < left ? limit : left) - 10)) --output "${results%.txt}_pytorch" || true
  report comparison "$work/comparison.log"
}

# Small tests of every kernel; a tool makes them many times slower.
run_sanitizer() {
  if ! command -v compute-sanitizer >/dev/null; then
    conclude sanitizer "left out: compute-sanitizer is not there"
    return
  fi
  local tool
  for tool in memcheck racecheck synccheck initcheck; do
    # Some tests ask for what cannot be, so what CUDA refuses is no error here.
    local options=(--tool "$tool" --error-exitcode 99 --print-limit 10)
    if [[ $tool == memcheck ]]; then options+=(--report-api-errors no); fi
    part "$tool" 40 0 compute-sanitizer "${options[@]}" "$build/tests/cuda/test_cuda" \
      "*agrees with the golden vectors*,the multi-scale objective is the weighted sum*,CUDA tile product*,CUDA sums*" || true
    report "$tool" "$work/$tool.log" 60
  done
}

write_packages
describe_machine >"$work/machine.log"
report machine "$work/machine.log"
cat "$work/machine.log"
if [[ -z $card ]]; then
  build_it "80-real;90-real"
  conclude device "none: nothing was run, tests and times need a GPU"
else
  build_it "${capability/./}-real"
  run_tests
  run_example
  run_benchmark
  compare
  run_sanitizer
fi
write_results
echo "results: $results"
[[ $all_well == yes ]]
