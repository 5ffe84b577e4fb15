#!/usr/bin/env bash
# Builds the example `pretrain` and runs it: ./scripts/pretrain.sh [options of pretrain]. Unless the options say
# otherwise it trains on the built-in data and leaves its results in runs/builtin (or -2, -3, ... if that is taken).
exec "$(dirname "${BASH_SOURCE[0]}")/run_program.sh" pretrain "$@"
