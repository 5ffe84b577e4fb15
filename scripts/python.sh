#!/usr/bin/env bash
# Runs the Python that the tests run with, in the root of the project: ./scripts/python.sh ARGUMENTS..., for example
# -m pytest tests/python. It is made first where it is not there or out of date: an environment in build/python with what
# tests/python/requirements.txt names and vlp built from this tree. Without arguments that is all. PYTHON names the
# interpreter that it is made of, python3 if not set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

environment=build/python
python=$environment/bin/python
pip=("$python" -m pip --disable-pip-version-check --quiet)

# is_of FILE TEXT: the file holds the text.
is_of() { [[ -f $1 && $(<"$1") == "$2" ]]; }

base=${PYTHON:-python3}
packages_of=$({ "$base" -c 'import sys; print(sys.version, sys.base_prefix)' && cat tests/python/requirements.txt; } | sha256sum)
if ! is_of "$environment/packages" "$packages_of"; then
  echo "python: making $environment"
  rm -rf "$environment"
  "$base" -m venv "$environment"
  # All that is needed is listed: what packages ask for themselves includes 3 GB for CUDA devices.
  "${pip[@]}" install --no-deps --only-binary=:all: --no-compile -r tests/python/requirements.txt
  printf '%s' "$packages_of" >"$environment/packages"
fi

sources_of=$(find bindings cmake cuda data/README.md docs/python.md include LICENSE CMakeLists.txt pyproject.toml -type f \
  -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
if ! is_of "$environment/sources" "$sources_of"; then
  echo "python: building vlp"
  # ccache then finds what is compiled again from a copy of the tree, as the tests of packaging do.
  CCACHE_BASEDIR=$PWD CMAKE_BUILD_PARALLEL_LEVEL=$(./scripts/build_jobs.sh) "${pip[@]}" install --no-deps --no-build-isolation --force-reinstall \
    --config-settings=build-dir="$PWD/$environment/vlp" .
  printf '%s' "$sources_of" >"$environment/sources"
fi

(($# > 0)) || exit 0
# PyTorch of PyPI wants CUDA's libraries, also where there is no device; those that have to be there are.
libraries=$(printf '%s:' "$PWD/$environment"/lib/python3*/site-packages/nvidia/*/lib)
LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:-}" exec "$python" "$@"
