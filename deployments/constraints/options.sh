# Sourced by setup.sh and update.sh: sets `options`, what uv must be told to resolve the packages of $device (cpu or gpu).
# Reads .venv/bin/python, for which the packages are.
options=()
case "$device" in
    cpu)
        options+=(--override deployments/constraints/overrides.txt)
        # uv does not read pip's settings: pass on where pip would find a CPU build of torch for this Python and processor.
        tag=$(.venv/bin/python -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
        for link in ${PIP_FIND_LINKS:-$(.venv/bin/python -m pip config get global.find-links 2>/dev/null || true)}; do
            if compgen -G "$link/torch-*-$tag-*$(uname -m).whl" >/dev/null; then options+=(--find-links "$link"); fi
        done
        [[ " ${options[*]} " == *" --find-links "* ]] || options+=(--torch-backend cpu)
        ;;
    gpu)
        # The index has the build for CUDA. A build for CPUs that lies in find-links would be preferred to it.
        unset UV_FIND_LINKS
        ;;
esac
