#!/usr/bin/env bash
# Installs the packages that are missing, builds the example NAME and runs it in the caller's folder:
# ./scripts/run_program.sh NAME [options of the example].
set -euo pipefail
caller_folder=$(pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$(pwd)
name=$1
shift

./scripts/install_packages.sh
echo "build: build/cpu"
cmake --preset cpu --log-level=WARNING >/dev/null
cmake --build --preset cpu --target "$name" --parallel "$(./scripts/build_jobs.sh)"

cd "$caller_folder"  # which the paths among the options are relative to
exec "$root/build/cpu/examples/$name" "$@"
