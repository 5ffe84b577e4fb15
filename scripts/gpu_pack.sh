#!/usr/bin/env bash
# Builds, on a machine without a GPU, all that scripts/gpu_check.sh runs on one with it, and packs it into one archive:
#
#   ./scripts/gpu_pack.sh [--wheels FOLDER]
#
# Needs CUDA 12 or later. Programs are built for compute capability 9.0 (GPU_ARCHITECTURE names another, "80") by the
# CMake preset `gpu`. The archive, build/gpu_pack/vlp_gpu.tar.gz, holds the working tree (what git tracks or would add),
# the programs, the headers that one of them takes to be built there instead, and the wheels of FOLDER: Python packages that
# the comparison times beside vlp and, for the tests of vlp.torch, apache-tvm-ffi and pytest with what it needs
# (pip download -d FOLDER apache-tvm-ffi pytest). The libraries of the Python package are among the programs where there
# is a tvm_ffi here; see scripts/build_gpu_programs.sh. The archive must stay below 40 MiB. On the machine with the GPU:
#
#   tar xf vlp_gpu.tar.gz && cd vlp_gpu && ./scripts/gpu_check.sh check && ./scripts/gpu_check.sh profile
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  echo "usage: gpu_pack.sh [--wheels FOLDER]" >&2
  exit 2
}
wheels=
if (($# > 0)); then
  [[ $# == 2 && $1 == --wheels ]] || usage
  wheels=$2
  if ! compgen -G "$wheels/*.whl" >/dev/null; then
    echo "gpu_pack.sh: there is no wheel in $wheels" >&2
    exit 2
  fi
fi
if ! command -v nvcc >/dev/null; then
  echo "gpu_pack.sh: needs nvcc, of CUDA 12 or later" >&2
  exit 2
fi

./scripts/install_packages.sh
./scripts/build_gpu_programs.sh
folder=build/gpu_pack
pack=$folder/vlp_gpu
rm -rf "$folder"
mkdir -p "$pack/pack/headers"

git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  if [[ -e $file ]]; then printf '%s\0' "$file"; fi
done | tar -c --null --files-from=- -f - | tar -x -C "$pack" -f -
git describe --always --dirty >"$pack/pack/commit"

cp -r build/gpu/programs "$pack/pack/programs"
strip "$pack"/pack/programs/*

# take WHAT FROM...: copies the first of these that exists to pack/headers/WHAT.
take() {
  local what=$1 from
  shift
  for from in "$@"; do
    [[ -e $from ]] || continue
    cp -rL "$from" "$pack/pack/headers/$what"
    return
  done
  echo "gpu_pack.sh: there is no $1 (scripts/install_packages.sh installs it)" >&2
  exit 1
}
take Eigen /usr/include/eigen3/Eigen /usr/local/include/eigen3/Eigen
take Random123 /usr/include/Random123 /usr/local/include/Random123
if [[ -n $wheels ]]; then
  mkdir "$pack/pack/wheels"
  cp "$wheels"/*.whl "$pack/pack/wheels"
fi

archive=$folder/vlp_gpu.tar.gz
tar -cz -C "$folder" -f "$archive" vlp_gpu
size=$(stat -c %s "$archive")
echo "packed: $archive, $((size / 1024)) KiB"
if ((size > 40 * 1024 * 1024)); then
  echo "gpu_pack.sh: the archive is larger than 40 MiB" >&2
  exit 1
fi
