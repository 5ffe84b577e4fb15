#!/usr/bin/env bash
# Builds the example `generate` and runs it: ./scripts/generate.sh --run RUN --image FILE [options of generate]. It writes
# impressions with the models of a finished run of `pretrain --objective hybrid`.
exec "$(dirname "${BASH_SOURCE[0]}")/run_program.sh" generate "$@"
