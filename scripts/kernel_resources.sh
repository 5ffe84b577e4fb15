#!/usr/bin/env bash
# Makes a table of what ptxas -v says of each kernel (registers, spilled bytes) from a build's output on stdin, and
# passes on all else: cmake --build --preset cuda | ./scripts/kernel_resources.sh
set -euo pipefail
c++filt | awk '
  /ptxas info *: Compiling entry function/ {
    split($0, part, "\047"); kernel = part[2]; architecture = part[4]
    sub(/^void /, "", kernel); gsub(/\([A-Za-z_:]+\)/, "", kernel); sub(/\(.*/, "", kernel)
    gsub(/vlp::cuda::detail::|vlp::cuda::|vlp::/, "", kernel)
    gsub(/__nv_bfloat16/, "BFloat16", kernel); gsub(/__half/, "Half", kernel)
    next
  }
  /bytes stack frame/ { spilled = $5; next }
  /ptxas info *: Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/)
    line[++count] = sprintf("%-72s %-6s %9d %8d", substr(kernel, 1, 72), architecture, substr($0, RSTART + 5, RLENGTH - 5), spilled)
    next
  }
  /ptxas info/ { next }
  { print; fflush() }
  END {
    if (count == 0) exit
    printf "%-72s %-6s %9s %8s\n", "kernel", "", "registers", "spilled"
    fflush()
    for (i = 1; i <= count; ++i) print line[i] | "sort -u"
  }'
