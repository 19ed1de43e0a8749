"""Both kinds of store, for the tests that hold for either."""

import itertools
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from spot_core.processes.supervised import free_port
from tests.s3_server import KEY, SECRET

_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """Address of an S3 server; the environment says how to use it, to this process and to those it starts."""
    port = free_port()
    log = tmp_path_factory.mktemp("s3") / "server.log"
    address = f"http://127.0.0.1:{port}"
    known = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    known |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    server_file = Path(__file__).with_name("s3_server.py")
    with log.open("wb") as out, pytest.MonkeyPatch.context() as patch:
        for name, value in known.items():
            patch.setenv(name, value)
        server = subprocess.Popen([sys.executable, str(server_file), str(port)], stdout=out, stderr=out)
        try:
            _wait_for(port, server, log)
            yield address
        finally:
            server.kill()
            server.wait()


def _wait_for(port, server, log):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"no S3 server on port {port}: {log.read_text()}")


@pytest.fixture
def make_bucket(s3_server):
    """Makes a bucket of its own for a test; faults go by the first word of its name."""

    def make(word="test"):
        name = f"{word}-{os.getpid()}-{next(_NUMBERS)}"
        boto3.client("s3").create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture
def bucket(make_bucket, tmp_path, monkeypatch):
    """A store in an empty bucket, with this machine's scratch folder below ``tmp_path``."""
    monkeypatch.setenv("SPOT_SCRATCH", str(tmp_path / "scratch"))
    return f"s3://{make_bucket()}/spot"


@pytest.fixture(params=["folder", "s3"])
def location(request, tmp_path):
    """Where a store is: a folder, and a bucket."""
    return str(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("bucket")


class Keeper:
    """What a store holds, looked at and changed behind its back."""

    def __init__(self, location):
        self._root = Path(location)
        self._bucket, _, self._prefix = location.removeprefix("s3://").partition("/")
        self._s3 = boto3.client("s3") if location.startswith("s3://") else None

    def names(self, ending=""):
        if self._s3 is None:
            names = [p.relative_to(self._root).as_posix() for p in self._root.rglob("*") if p.is_file()]
        else:
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}/"
            )
            names = [
                o["Key"].removeprefix(f"{self._prefix}/") for page in pages for o in page.get("Contents", ())
            ]
        return sorted(name for name in names if name.endswith(ending))

    def read(self, name):
        if self._s3 is None:
            return (self._root / name).read_bytes()
        return self._s3.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")["Body"].read()

    def write(self, name, data):
        if self._s3 is None:
            (self._root / name).write_bytes(data)
        else:
            self._s3.put_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}", Body=data)

    def remove(self, name):
        if self._s3 is None:
            (self._root / name).unlink()
        else:
            self._s3.delete_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")


@pytest.fixture
def kept(location):
    return Keeper(location)
