#!/usr/bin/env bash
# Runs the fuzzers of tests/fuzz for so many minutes each: ./scripts/fuzz.sh MINUTES [NAME...]. Without names all of
# them, as many side by side as there are processors. Needs clang with libFuzzer. Prints for each how many inputs it ran
# and how many it found; an input that breaks a promise is kept in build/fuzz/NAME-*, and the status is 1. What reached
# new code is kept in build/fuzz/corpus/NAME, where the next run begins.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

(($# > 0)) && [[ $1 =~ ^[0-9]+$ ]] || { echo "usage: fuzz.sh MINUTES [NAME...]" >&2 && exit 2; }
minutes=$1
shift
./scripts/install_packages.sh
cmake --preset cpu -DVLP_BUILD_TESTS=ON -DVLP_BUILD_EXAMPLES=ON --log-level=WARNING >/dev/null
if ! cmake --build --preset cpu --parallel "$(./scripts/build_jobs.sh)" --target fuzzers; then
  echo "fuzz.sh: no fuzzers: needs clang++ with libFuzzer (on Debian the packages clang and libclang-rt-14-dev)" >&2
  exit 2
fi
programs=build/cpu/tests/fuzz
out=build/fuzz
names=("$@")
if ((${#names[@]} == 0)); then
  for program in "$programs"/*_fuzzer; do names+=("$(basename "$program" _fuzzer)"); done
fi
./tests/fuzz/make_seeds.sh "$out/seeds"

# run_one NAME: a line of what one fuzzer did.
run_one() {
  local name=$1 status=0 log=$out/$1.log
  mkdir -p "$out/corpus/$name"
  "$programs/${name}_fuzzer" -max_total_time=$((60 * minutes)) -max_len=65536 -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$out/$name-" "$out/corpus/$name" "$out/seeds/$name" >"$log" 2>&1 || status=$?
  local runs coverage
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
  printf '%-14s %12s runs, %s, %s\n' "$name" "${runs:-?}" "${coverage:-cov: ?}" \
    "$( ((status == 0)) && echo "nothing found" || echo "FAILED: $log")"
  return "$status"
}
export -f run_one
export out programs minutes
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run_one {}'
