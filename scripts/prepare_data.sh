#!/usr/bin/env bash
# Builds the example `prepare_data` and runs it: ./scripts/prepare_data.sh LAYOUT:PLACE [options of prepare_data], such as
# mimic-cxr:FOLDER --image-size 224 --image-cache CACHE. It reads a collection as a run will, says what is wrong with it,
# counts its labels and fills the cache of resized images.
exec "$(dirname "${BASH_SOURCE[0]}")/run_program.sh" prepare_data "$@"
