#!/usr/bin/env bash
# Collects the seeds of the fuzzers: make_seeds.sh FOLDER writes FOLDER/NAME/ for each NAME_fuzzer.cpp beside this. Seeds
# are the files of seeds/NAME/, and the tests' own data where they are of the fuzzer's kind.
set -euo pipefail
(($# == 1)) || { echo "usage: make_seeds.sh FOLDER" >&2 && exit 2; }
out=$(realpath -m "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"

rm -rf "$out"
for fuzzer in *_fuzzer.cpp; do
  name=${fuzzer%_fuzzer.cpp}
  mkdir -p "$out/$name"
  if [[ -d seeds/$name ]]; then cp -r "seeds/$name/." "$out/$name"; fi
done

cp ../io/data/images/* "$out/image"
