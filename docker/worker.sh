#!/usr/bin/env bash
# A Prefect worker for one work pool; flows run as its child processes. Arguments: POOL, then more for `prefect worker start`.
set -euo pipefail
pool=${1:?"name the work pool: cpu, api or gpu"}
shift
: "${PREFECT_API_URL:?"set it to the address of the Prefect server, e.g. http://server:4200/api"}"
exec prefect worker start --pool "$pool" --type process --name "$pool-$(hostname)" --with-healthcheck \
    --no-create-pool-if-not-found "$@"
