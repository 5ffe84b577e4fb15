#!/usr/bin/env bash
# Formats every C++ and CUDA file of the project; with --check only says which differ, and fails if one does.
# Always with clang-format 14, since versions differ in what they make of the same configuration.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

clang_format=clang-format-14
if ! command -v "$clang_format" >/dev/null; then
  echo "format.sh: needs $clang_format (scripts/install_packages.sh installs it where the distribution has it)" >&2
  exit 1
fi
mapfile -d '' files < <(find include examples benchmarks bindings tests cuda -type f \
  \( -name '*.h' -o -name '*.hpp' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu' \) -print0 2>/dev/null)
case "${1-}" in
  "") "$clang_format" -i "${files[@]}" ;;
  --check)
    if ! "$clang_format" --dry-run --Werror "${files[@]}"; then
      echo "format.sh: run ./scripts/format.sh" >&2
      exit 1
    fi
    echo "formatting: ${#files[@]} files as they should be"
    ;;
  *)
    echo "usage: format.sh [--check]" >&2
    exit 2
    ;;
esac
