"""The PostgreSQL that tests start: what was committed outlives stop and kill -9, and nothing of it stays behind."""

import psutil
import pytest

from tests.e2e.postgres import MISSING, Postgres, programs

pytestmark = pytest.mark.skipif(programs() is None, reason=MISSING)


def listening(process: psutil.Process) -> set[str]:
    """Addresses at which a process listens; none if it was one of the short-lived and is gone."""
    try:
        connections = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return set()
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


def test_what_was_committed_outlives_stop_and_kill_and_nothing_stays_behind():
    with Postgres() as postgres:
        postgres.sql("CREATE TABLE kept (number int)")
        for number, end in enumerate([postgres.stop, postgres.kill, postgres.kill]):
            postgres.sql(f"INSERT INTO kept VALUES ({number})")
            end()
            postgres.start()
        assert postgres.sql("SELECT number FROM kept ORDER BY 1").split() == ["0", "1", "2"]
        tree = [postgres.process, *postgres.process.children(recursive=True)]
        assert {ip for process in tree for ip in listening(process)} == {"127.0.0.1"}
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in tree)
    assert not postgres.folder.exists()
