"""The monitor of a run goes on without a server and without a store that can be written, and says so once."""

import json
import logging
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.monitor import Monitor
from spot_core.errors import ConfigError
from spot_core.report.status import STATUS
from spot_core.runs import Run
from tests.spot_core.report.test_status import start, use


@pytest.fixture
def monitor(tmp_path):
    run = start(tmp_path)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # nobody answers
        yield Monitor(run, uuid4(), logging.getLogger("monitor"))


def test_without_a_server_the_status_is_left_in_the_store_and_the_outage_said_once(tmp_path, monitor, caplog):
    monitor.look("running")
    use(start(tmp_path), "rollout")
    monitor.look("running")
    left = json.loads((tmp_path / "runs" / "one" / STATUS).read_text())
    assert left["state"] == "running"
    assert left["stages"][0]["state"] == "made"
    said = [record.getMessage() for record in caplog.records if record.name == "monitor"]
    assert len(said) == len(set(said)) == 2  # what is read, and what is shown
    assert all("the Prefect server does not answer" in line for line in said)


def test_a_store_that_cannot_be_written_does_not_end_it(tmp_path, monitor, caplog):
    (tmp_path / "runs" / "one" / STATUS).mkdir()
    monitor.look("running")
    monitor.look("failed", "disk full")
    said = [r.getMessage() for r in caplog.records if "cannot be written" in r.getMessage()]
    assert len(said) == 1


def test_a_run_that_another_version_made_does_not_hinder_it(tmp_path, monitor):
    old = tmp_path / "runs" / "old" / "run.json"
    old.parent.mkdir()
    record = json.loads((tmp_path / "runs" / "one" / "run.json").read_text())
    old.write_text(json.dumps(record | {"run_name": "old", "config": record["config"] | {"renamed": 1}}))
    monitor.look("running")
    assert json.loads((tmp_path / "runs" / "one" / STATUS).read_text())["state"] == "running"
    with pytest.raises(ConfigError, match="settings that this version does not take"):
        Run.open(tmp_path, "old")


def test_a_summary_that_cannot_be_read_does_not_change_how_the_run_ends(tmp_path, monitor, caplog):
    monitor.look("running")
    (tmp_path / "runs" / "one" / "summary.json").mkdir()
    monitor.look("complete")
    assert json.loads((tmp_path / "runs" / "one" / STATUS).read_text())["state"] == "complete"
    assert any("the store cannot be read" in record.getMessage() for record in caplog.records)
