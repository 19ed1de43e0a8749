"""`spot up` and a server that is not this machine's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A Prefect API that is healthy and knows nothing, at an address other than this machine's usual one; and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            healthy = self.path == "/api/health"
            self.send_response(200 if healthy else 404)
            self.end_headers()
            self.wfile.write(b"true" if healthy else b"{}")

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.2", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.2:{server.server_port}/api", asked
        server.shutdown()


def test_another_machines_server_is_used_as_it_is(elsewhere: tuple[str, list[str]], tmp_path: Path):
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
    assert set(asked) == {"GET /api/health"}
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
