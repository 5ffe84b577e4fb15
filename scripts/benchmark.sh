#!/usr/bin/env bash
# Times every loss, how its cost grows with the batch, all threads on a busy machine, PyTorch beside it, and images beside Python's
# readers: ./scripts/benchmark.sh [options of cmake], say -DVLP_BLAS=ON. Takes half an hour and wants a machine that does nothing else. Leaves tables and JSON in
# benchmarks/results and pictures in docs/images. PYTHON names the Python that has PyTorch (default: python3).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=build/benchmark
results=benchmarks/results

./scripts/install_packages.sh
echo "build: $build"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DVLP_NATIVE=ON -DVLP_BUILD_BENCHMARKS=ON -DVLP_BUILD_BINDINGS=ON \
  -DVLP_BUILD_TESTS=OFF -DVLP_BUILD_EXAMPLES=OFF --log-level=WARNING "$@" >/dev/null
cmake --build "$build" --parallel "$(./scripts/build_jobs.sh)" --target benchmark_losses benchmark_busy benchmark_images vlp_ops

# record NAME OPTIONS...: runs the program, keeps its JSON without the name of this machine and without NaN, which JSON
# does not have (the relative spread of a count that always is 0).
record() {
  local name=$1
  shift
  "$build/benchmarks/benchmark_losses" --benchmark_out="$build/$name.json" "$@"
  sed -e '/"host_name":/d' -e 's|"executable": ".*"|"executable": "benchmark_losses"|' \
    -e 's/: -\{0,1\}NaN/: null/I' \
    "$build/$name.json" >"$results/$name.json"
}
record losses --benchmark_filter=-^scaling --benchmark_repetitions=3 --benchmark_display_aggregates_only=true
record scaling --benchmark_filter=^scaling
"$build/benchmarks/benchmark_busy" | tee "$results/busy.md"
python=${PYTHON:-python3}
"$python" benchmarks/plot_scaling.py "$results/scaling.json" --images docs/images --output "$results/scaling.md"

if "$python" -c 'import torch' 2>/dev/null; then
  "$python" benchmarks/compare_pytorch.py --bridge "$build/bindings/libvlp_ops.so"
else
  echo "benchmark.sh: $python has no PyTorch, so nothing is compared to it (PYTHON names another Python)"
fi

if "$python" -c 'import numpy, PIL' 2>/dev/null; then
  "$python" benchmarks/compare_images.py --program "$build/benchmarks/benchmark_images"
else
  echo "benchmark.sh: $python has no Pillow, so no images are compared (PYTHON names another Python)"
fi
