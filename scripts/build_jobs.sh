#!/usr/bin/env bash
# Prints how many compilers to run at once: one per processor, but no more than there are 2 GiB of memory for.
set -euo pipefail

processors=$(nproc)
memory_gib=$(awk '/^MemAvailable:/ {print int($2 / 1024 / 1024)}' /proc/meminfo)
by_memory=$((memory_gib / 2))
jobs=$((processors < by_memory ? processors : by_memory))
echo $((jobs > 1 ? jobs : 1))
