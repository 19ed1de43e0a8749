"""Orphans are seen, also those that have given themselves another environment; nobody else's process is."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from tests.chaos.processes import MARK, Family
from tests.chaos.services import Service, Supervisor

CHILD_WITHOUT_MARK = (
    "import subprocess; subprocess.Popen(['sleep', '60'], env={}); print('up', flush=True); input()"
)


@pytest.fixture
def family():
    family = Family(uuid.uuid4().hex)
    yield family
    family.end()


def environment(family: Family) -> dict[str, str]:
    return os.environ | {MARK: family._mark}


def eventually(condition) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_what_outlives_its_head_is_astray(family: Family):
    with subprocess.Popen(
        [sys.executable, "-c", CHILD_WITHOUT_MARK],
        env=environment(family),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as head:
        assert head.stdout.readline() == b"up\n"
        assert {process.name() for process in family.alive()} >= {"sleep"}
        assert family.strays({head.pid}) == []
        head.kill()
    assert [process.name() for process in family.strays({head.pid})] == ["sleep"]
    family.end()
    assert eventually(lambda: family.alive() == [])


def test_processes_of_others_are_left_alone(family: Family):
    with subprocess.Popen(["sleep", "60"], env=environment(Family("another"))) as other:
        assert family.alive() == []
        family.end()
        assert other.poll() is None
        other.kill()


def test_a_service_that_dies_is_started_again_without_what_is_left_of_it(family: Family, tmp_path: Path):
    supervisor = Supervisor()
    command = ["bash", "-c", "sleep 60 & sleep 61"]
    service = Service("pair", command, environment(family), tmp_path / "log", tmp_path)
    service.start()
    supervisor.add(service)
    try:
        assert eventually(lambda: len(family.alive()) == 3)
        first = {process.pid for process in family.alive()}
        psutil.Process(service.pid).kill()
        assert eventually(lambda: service.starts == 2 and len(family.alive()) == 3)
        assert not first & {process.pid for process in family.alive()}
        assert supervisor.restarts() == 1
    finally:
        supervisor.close()
    assert eventually(lambda: family.alive() == [])
