#!/usr/bin/env bash
# Builds everything and runs every test: ./scripts/test.sh [--python] [options of ctest]. With --python the tests of the
# Python package too, in an environment that scripts/python.sh makes. Checks the formatting first, where there is
# clang-format 14. CUDA kernels run emulated, which is most of the work (VLP_TEST_CUDA_EMULATION=OFF leaves it out); where
# there is nvcc they are compiled too, and where there is a device the same tests run on it. With CI set, warnings are
# errors; elsewhere a compiler newer than ours may warn of more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=
if [[ ${1:-} == --python ]]; then
  python=$1
  shift
fi
./scripts/install_packages.sh $python
if command -v clang-format-14 >/dev/null; then
  ./scripts/format.sh --check
else
  echo "formatting: not checked, since there is no clang-format-14"
fi
if [[ -n $python ]]; then
  ./scripts/python.sh # first, since the test of LibTorch takes the one of PyTorch that it installs
fi
echo "build: build/cpu"
cmake --preset cpu -DVLP_BUILD_TESTS=ON -DVLP_BUILD_EXAMPLES=ON -DVLP_INSTALL=ON \
  -DVLP_TEST_CUDA_EMULATION="${VLP_TEST_CUDA_EMULATION:-ON}" -DVLP_WARNINGS_AS_ERRORS="${CI:+ON}" --log-level=WARNING >/dev/null
jobs=$(./scripts/build_jobs.sh)
cmake --build --preset cpu --parallel "$jobs"
ctest --preset cpu --parallel "$jobs" --no-tests=error "$@"
if [[ -n $python ]]; then
  ./scripts/python.sh -m pytest tests/python -n "$jobs" --dist loadfile
fi

if ! command -v nvcc >/dev/null; then
  echo "CUDA: no nvcc, so no kernel was compiled for a device"
  exit 0
fi
echo "build: build/cuda"
# Kernels for sm_80; the programs have them for another architecture.
cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES=80-real -DVLP_BUILD_TESTS=ON -DVLP_WARNINGS_AS_ERRORS="${CI:+ON}" \
  --log-level=WARNING >/dev/null
cmake --build --preset cuda --parallel "$jobs" --target cuda_kernels | ./scripts/kernel_resources.sh
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 || true)
GPU_ARCHITECTURE=${capability:+${capability/./}} ./scripts/build_gpu_programs.sh
if [[ -z $capability ]]; then
  echo "CUDA: no device, so the kernels were compiled for one but not run on one"
  exit 0
fi
ctest --preset gpu --no-tests=error "$@"
