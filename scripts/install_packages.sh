#!/usr/bin/env bash
# Installs what building and testing vlp takes, from the distribution's own packages (Debian 12, Ubuntu 24.04 and
# later); with --python also what the tests of the Python package take of them. Does nothing when all are there.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache                       # the build
  libeigen3-dev                                      # vlp::vlp
  libutf8proc-dev librandom123-dev                   # vlp::text
  libpng-dev libjpeg-dev                             # vlp::io: images
  libcsv-dev zlib1g-dev nlohmann-json3-dev           # vlp::io
  libdcmtk-dev                                       # vlp::dicom
  libcli11-dev gnuplot-nox libstb-dev                # the examples
  catch2 librapidcheck-dev libxtensor-dev            # the tests
  pkgconf                                            # the test of vlp.pc
  libboost-context-dev                               # CUDA kernels on the host, for the tests
  libopenblas-dev                                    # products by a BLAS (VLP_BLAS)
  libbenchmark-dev                                   # the benchmarks
)
if [[ ${1:-} == --python ]]; then
  packages+=(python3-venv python3-dev) # an environment, and what torch.compile compiles with
fi
# Wanted only where the distribution has them: without the first the formatting is not checked.
optional_packages=(clang-format-14)

# missing_of PACKAGE...: those of the packages that are not installed, a line each.
missing_of() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true) == installed ]] || echo "$package"
  done
}
# available_of PACKAGE...: those of the packages that apt-get could install, a line each.
available_of() {
  local package
  for package in "$@"; do
    [[ -z $(apt-cache madison "$package" 2>/dev/null || true) ]] || echo "$package"
  done
}

mapfile -t missing < <(missing_of "${packages[@]}")
mapfile -t missing_optional < <(missing_of "${optional_packages[@]}")
mapfile -t optional < <(available_of "${missing_optional[@]}")
if ((${#missing[@]} + ${#optional[@]} == 0)); then
  echo "packages: all installed"
  exit 0
fi

# stop REASON: nothing can be installed, which is an error unless only optional packages are missing.
stop() {
  if ((${#missing[@]} == 0)); then
    echo "packages: all installed, except ${optional[*]}, which may be missing"
    exit 0
  fi
  echo "install_packages.sh: $1: ${missing[*]}" >&2
  exit 1
}
command -v apt-get >/dev/null || stop "needs apt-get (Debian, Ubuntu); elsewhere install the like of"
as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || stop "run it as root, or install sudo; it lacks"
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
mapfile -t optional < <(available_of "${missing_optional[@]}") # of the lists that are new
missing+=("${optional[@]}")
echo "packages: installing ${missing[*]}"
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
