#!/usr/bin/env bash
# Gathers what scripts/gpu_check.sh needs beside CUDA, CMake and Python, for a machine that has no packages and no
# network: ./scripts/gpu_headers.sh FOLDER, on a machine where scripts/install_packages.sh has run.
set -euo pipefail

if (($# != 1)); then
  echo "usage: gpu_headers.sh FOLDER" >&2
  exit 2
fi
folder=$1

# take WHAT FROM...: copies the first of these that exists to the folder's WHAT.
take() {
  local what=$1 from
  shift
  for from in "$@"; do
    [[ -e $from ]] || continue
    mkdir -p "$(dirname "$folder/$what")"
    rm -rf "${folder:?}/$what"
    cp -rL "$from" "$folder/$what"
    return
  done
  echo "gpu_headers.sh: there is no $1 (scripts/install_packages.sh installs it)" >&2
  exit 1
}
take Eigen /usr/include/eigen3/Eigen /usr/local/include/eigen3/Eigen
take Random123 /usr/include/Random123 /usr/local/include/Random123
take catch2/catch.hpp /usr/include/catch2/catch.hpp  # version 2
# What makes a CTest test of every TEST_CASE.
for file in Catch.cmake CatchAddTests.cmake; do
  take "catch2/$file" "/usr/lib/cmake/Catch2/$file" "/usr/lib/$(uname -m)-linux-gnu/cmake/Catch2/$file"
done
echo "headers: $(du -sh "$folder" | cut -f1) in $folder"
