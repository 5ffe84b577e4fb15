#!/usr/bin/env bash
# Checks the formatting, builds everything and runs every test: ./scripts/test.sh [options of ctest]. With CI set, warnings
# are errors; elsewhere a compiler newer than ours may warn of more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

./scripts/install_packages.sh
./scripts/format.sh --check
echo "build: build/cpu"
cmake --preset cpu -DVLP_BUILD_TESTS=ON -DVLP_BUILD_EXAMPLES=ON -DVLP_INSTALL=ON \
  -DVLP_WARNINGS_AS_ERRORS="${CI:+ON}" --log-level=WARNING >/dev/null
jobs=$(./scripts/build_jobs.sh)
cmake --build --preset cpu --parallel "$jobs"
ctest --preset cpu --parallel "$jobs" --no-tests=error "$@"
