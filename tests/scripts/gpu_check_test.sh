#!/usr/bin/env bash
# Tries scripts/gpu_check.sh on a machine that is made up: a card, programs that succeed, die or hang, tools that are
# there or not. Every step must end within its limit, and the results file must say what happened.
set -euo pipefail
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# program NAME: an executable at $place/NAME whose body is read.
program() {
  mkdir -p "$(dirname "$place/$1")"
  { printf '#!/usr/bin/env bash\n' && cat; } >"$place/$1"
  chmod +x "$place/$1"
}

fail() {
  echo "gpu_check_test: $1" >&2
  cat "$place/output" >&2
  exit 1
}

# run SECONDS STATUS MODE: runs the script, which must end in time and with that status.
run() {
  local status=0 begin=$SECONDS
  rm -rf "$place/results"
  PATH=$place/bin:$PATH VLP_GPU_CHECK_SECONDS=$1 PYTHON=$place/bin/python \
    "$place/scripts/gpu_check.sh" "$3" "$place/results" >"$place/output" 2>&1 </dev/null || status=$?
  ((status == $2)) || fail "ended with $status, not $2"
  ((SECONDS - begin <= $1 + 10)) || fail "took $((SECONDS - begin)) s, not $1"
  (($(find "$place/results" -type f | wc -l) <= 8)) || fail "left more than eight files"
}

# expect FILE PATTERN: a line of a file of the results.
expect() {
  grep -qE -- "$2" "$place/results/$1" || {
    cat "$place/results/$1" >&2
    fail "no line of $1 is like: $2"
  }
}

mkdir -p "$place/scripts" "$place/pack/programs"
cp "$root/scripts/gpu_check.sh" "$place/scripts/"
echo 1234abc >"$place/pack/commit"
program bin/nvidia-smi <<<'echo "Some Card, 9.0, 580.1, 1000 MiB"'
program bin/python <<'END'
[[ "$*" == *torch* ]] && exit 1 # without PyTorch
exec python3 "$@"
END
program bin/compute-sanitizer <<<'[[ $1 == --help ]] || echo "ERROR SUMMARY: 0 errors"'
program bin/ncu <<'END'
printf '"%s","%s","%s"\n' "Kernel Name" "Metric Unit" "Metric Value" "void take(int)" us 1,000.5 "void take(int)" us 2 give us 1
END
program pack/programs/losses_cuda <<<'echo "loss 7.09"'
program pack/programs/test_cuda <<'END'
[[ $1 == --durations ]] || exit 0
echo "0.001 s: a test"
echo "the next one hangs"
sleep 600
END
program pack/programs/hardware_probe <<<'echo probed >"$1"'
program pack/programs/benchmark_losses_cuda <<'END'
if [[ $1 == --list ]]; then
  [[ $2 == --bars ]] && printf '%s\n' good bad || echo good
  exit
fi
[[ $2 == bad ]] && kill -SEGV $$
while [[ $1 != --json ]]; do shift; done
echo '{"context": {"card": "Some Card"}, "ceilings": {}, "rows": [{"loss": "good", "median_ms": 1}]}' >"$2"
printf 'card: Some Card\n| loss | ms |\n|---|---|\n| good | 1 |\n'
END

# A program that dies, one that hangs, no PyTorch: all else is measured.
run 42 1 check
expect check.txt '^vlp on a CUDA device, check: Some Card$'
expect check.txt '^commit +1234abc$'
expect check.txt '^example +ok'
expect check.txt '^bars good +ok'
expect check.txt '^bars bad +failed \(status 139\)'
expect check.txt '^tests +stopped after [0-9]+ s'
expect check.txt '^the next one hangs$'
expect check.txt '^probe +ok'
expect check.txt '^python +left out: libvlp_ffi_cuda.so was not packed'
expect check.txt '^comparison +left out: .*has no PyTorch'
expect check.txt '^others good +ok'
expect tests.log '^0.001 s: a test$'
expect hardware.bin '^probed$'
(($(grep -c '"loss": "good"' "$place/results/check_losses.json") == 2)) || fail "rows are missing in check_losses.json"

# No time at all: every step says that it was left out.
touch "$place/pack/programs/libvlp_ffi_cuda.so"
run 2 0 check
expect check.txt '^python +left out: .*has no torch'
expect check.txt '^bars good +left out: no time was left'
expect check.txt '^tests +left out: no time was left'

# The comparison is told to end by itself before it is stopped, with all of the usual time and with a part of it.
mv "$place/bin/python" "$place/without_torch"
mv "$place/pack/programs/test_cuda" "$place/hanging"
program bin/python <<<'[[ "$*" =~ torch|tvm_ffi|pytest ]] || exec python3 "$@"'
program pack/programs/test_cuda <<<'exit 0'
program bin/timeout <<END
[[ "\$*" == *compare_pytorch* ]] && echo "\$*" >"$place/limits"
exec $(command -v timeout) "\$@"
END
for available in 400 280 50; do
  run "$available" 1 check
  read -r stopped told < <(sed -E 's/^-k 3 ([0-9]+) .*--time-limit ([0-9]+) .*/\1 \2/' "$place/limits")
  ((told <= stopped - 3 && told > stopped / 2)) || fail "the comparison is stopped after $stopped s, told $told s"
  ((stopped <= available - 10)) || fail "the comparison may take $stopped s of $available s"
  expect check.txt '^python +ok'
done
rm "${place:?}/bin/timeout"
mv "$place/without_torch" "$place/bin/python"
mv "$place/hanging" "$place/pack/programs/test_cuda"

# The profile; what says so is not an error.
run 17 0 profile
expect profile.txt '^block 4 MiB pairs +ok'
expect profile.txt '^counters of scores +ok'
expect profile.txt '^take +2 +1002.5 +99.9%'
expect profile.txt '^memcheck +ok'
expect counters.csv '^# counters of attention$'

# A benchmark that does not start is built anew, which here fails, too.
mv "$place/pack/programs/benchmark_losses_cuda" "$place/kept"
program pack/programs/benchmark_losses_cuda <<<'echo "version GLIBC_9.9 not found" >&2; exit 1'
program bin/nvcc <<<'echo "nvcc: no such thing" >&2; exit 1'
run 8 1 check
expect check.txt '^version GLIBC_9.9 not found$'
expect check.txt '^build here +failed'
expect check.txt '^nvcc: no such thing$'
mv "$place/kept" "$place/pack/programs/benchmark_losses_cuda"

# A library that is nowhere.
program bin/ldd <<<'printf "\tlibcublas.so.13 => not found\n"'
run 8 1 check
expect check.txt '^libraries +failed: there is no libcublas.so.13$'
rm "$place/bin/ldd"

# No card; a query that hangs would be ended after 20 s.
program bin/nvidia-smi <<<'exit 9'
run 8 1 check
expect check.txt '^device +failed: none'

# Wrong calls.
status=0
"$place/scripts/gpu_check.sh" something 2>/dev/null || status=$?
((status == 2)) || fail "a wrong mode ended with $status"
rm -r "$place/pack/programs"
status=0
"$place/scripts/gpu_check.sh" check >"$place/output" 2>&1 || status=$?
((status == 2)) || fail "a folder without a pack ended with $status"
