#!/usr/bin/env bash
# Lock again after a change of a .in file. Needs uv on PATH (pip install uv) and a .venv; the build needs only the result.
set -euo pipefail
cd "$(dirname "$0")"
for name in test dev lowest native audit; do
  python=3.11; [ $name != audit ] || python=3.12
  uv pip compile --quiet --universal --python-version $python --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command requirements/lock.sh "$name.in" --output-file "$name.txt" "$@"
done
../.venv/bin/python ../web/build/wheels.py lock
