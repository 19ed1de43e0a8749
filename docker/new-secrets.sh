#!/usr/bin/env bash
# Makes docker/.env with new passwords, unless it is there; and, empty, docker/oracle.env for the API keys of Oracles and
# docker/packages.env for the mirror that packages come from, if there is one.
set -euo pipefail
cd "$(dirname "$0")"
umask 077
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
if [ -e .env ]; then
    echo "docker/.env is there already: kept"
else
    printf 'POSTGRES_PASSWORD=%s\nPREFECT_API_AUTH_STRING=spot:%s\n' "$(random)" "$(random)" >.env
    echo "docker/.env made: the UI asks for PREFECT_API_AUTH_STRING"
fi
if [ ! -e oracle.env ]; then
    echo "# API keys of Oracles, for the workers of the pool api alone, e.g. GEMINI_API_KEY=…" >oracle.env
    echo "docker/oracle.env made: put the Oracles' API keys there"
fi
if [ ! -e packages.env ]; then
    echo "# Variables of pip and uv while images are built, e.g. PIP_INDEX_URL=… and UV_DEFAULT_INDEX=… of a mirror" >packages.env
fi
