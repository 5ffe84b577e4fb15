#!/usr/bin/env bash
# Builds the example `pretrain` and runs it: ./scripts/pretrain.sh [options of pretrain]. Unless the options say
# otherwise it trains on the built-in data and leaves its results in runs/builtin (or -2, -3, ... if that is taken).
set -euo pipefail
caller_folder=$(pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$(pwd)

./scripts/install_packages.sh
echo "build: build/cpu"
cmake --preset cpu --log-level=WARNING >/dev/null
cmake --build --preset cpu --target pretrain --parallel "$(./scripts/build_jobs.sh)"

cd "$caller_folder"  # which the paths among the options are relative to
exec "$root/build/cpu/examples/pretrain" "$@"
