#!/usr/bin/env bash
# Builds all programs that run on a CUDA device into build/gpu/programs: ./scripts/build_gpu_programs.sh. They are for
# compute capability 9.0, or GPU_ARCHITECTURE ("80"). For 9.0 they are compiled for 90a, which has wgmma. The libraries of
# the Python package are among them if the Python of build/python, or else python3, has tvm_ffi. With CI set, warnings are
# errors. Prints the registers of the kernels that were compiled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

architecture=${GPU_ARCHITECTURE:-90}
[[ $architecture == 90 ]] && architecture=90a

options=(-DCMAKE_CUDA_ARCHITECTURES="$architecture-real" -DVLP_WARNINGS_AS_ERRORS="${CI:+ON}" -DVLP_BUILD_PYTHON=OFF)
for python in "$PWD/build/python/bin/python" "$(command -v python3)"; do
  if [[ -n $python ]] && "$python" -c 'import tvm_ffi' 2>/dev/null; then
    options+=(-DVLP_BUILD_PYTHON=ON -DPython_EXECUTABLE="$python")
    break
  fi
done

echo "build: build/gpu"
cmake --preset gpu "${options[@]}" --log-level=WARNING >/dev/null
cmake --build --preset gpu --parallel "$(./scripts/build_jobs.sh)" --target cuda_programs | ./scripts/kernel_resources.sh
