"""`spot up` and a server that is not this machine's."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import prefect
import pytest

CLUSTERS = {"id": str(uuid4()), "flow_id": str(uuid4()), "name": "full", "work_pool_name": "cpu"}
"""The deployment `spot/full` as it is on a cluster."""


@pytest.fixture(params=["127.0.0.2", "127.0.0.1"])
def elsewhere(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str]]]:
    """A cluster's Prefect API at an address of another machine, or forwarded to this one's; and what it was asked."""
    asked: list[str] = []
    answers = {
        "/api/health": "true",
        "/api/admin/version": json.dumps(prefect.__version__),
        "/api/deployments/name/spot/full": json.dumps(CLUSTERS),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(answers.get(self.path, "{}").encode())

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((request.param, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{request.param}:{server.server_port}/api", asked
        server.shutdown()


def test_a_clusters_server_is_used_as_it_is(elsewhere: tuple[str, list[str]], tmp_path: Path):
    url, asked = elsewhere
    done = subprocess.run(
        [Path(sys.executable).parent / "spot", "up"],
        env=os.environ | {"PREFECT_API_URL": url, "SPOT_STATE": str(tmp_path / "state"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left as they are" in done.stdout
    assert "GET /api/health" in asked
    assert all(request.startswith("GET ") for request in asked)
    assert not (tmp_path / "state" / "services.json").exists()


def test_a_server_elsewhere_that_does_not_answer_is_not_started_here(tmp_path: Path):
    done = subprocess.run(
        [Path(sys.executable).parent / "spot", "up"],
        env=os.environ | {"PREFECT_API_URL": "http://127.0.0.2:9/api", "SPOT_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "only a local one can be started" in done.stderr
