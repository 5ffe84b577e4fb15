#!/usr/bin/env bash
# Installs what building and testing vlp takes, from the distribution's own packages (Debian 12, Ubuntu 24.04 and
# later). Does nothing when all are there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache                       # the build
  libeigen3-dev librandom123-dev                     # vlp::vlp
  libutf8proc-dev                                    # vlp::text
  libstb-dev libcsv-dev nlohmann-json3-dev           # vlp::io
  libcli11-dev gnuplot-nox                           # the examples
  catch2 librapidcheck-dev libxtensor-dev            # the tests
  libboost-context-dev                               # CUDA kernels on the host, for the tests
  libopenblas-dev                                    # products by a BLAS (VLP_BLAS)
  libbenchmark-dev                                   # the benchmarks
  clang-format-14                                    # the formatting check
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "packages: all installed"
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "install_packages.sh: needs apt-get (Debian, Ubuntu); elsewhere install the like of: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install_packages.sh: run it as root, or install sudo; it lacks: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "packages: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
