#!/usr/bin/env bash
# Builds all programs that run on a CUDA device into build/gpu/programs: ./scripts/build_gpu_programs.sh. They are for
# compute capability 9.0, or GPU_ARCHITECTURE ("80"). For 9.0 they are compiled for 90a, which has wgmma. With CI set,
# warnings are errors. Prints the registers of the kernels that were compiled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

architecture=${GPU_ARCHITECTURE:-90}
[[ $architecture == 90 ]] && architecture=90a

echo "build: build/gpu"
cmake --preset gpu -DCMAKE_CUDA_ARCHITECTURES="$architecture-real" -DVLP_WARNINGS_AS_ERRORS="${CI:+ON}" \
  --log-level=WARNING >/dev/null
cmake --build --preset gpu --parallel "$(./scripts/build_jobs.sh)" --target cuda_programs | ./scripts/kernel_resources.sh
