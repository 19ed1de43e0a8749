"""The commands about runs, on a store without any Prefect server."""

import json
import re
import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from spot_cli.main import app, main
from spot_cli.options import console
from spot_core.report.status import ObservedStage, compute_status
from tests.spot_core.report.test_status import start, use


@pytest.fixture(autouse=True)
def nobody_answers():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield


@pytest.fixture
def spot(tmp_path, monkeypatch):
    """Runs a command about the runs of a store; returns what it printed, each piece of white space as one blank."""
    monkeypatch.setattr(console, "width", 250)

    def run(*arguments, status=0):
        done = CliRunner().invoke(app, [*arguments, "--store", str(tmp_path)], catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.output if "--json" in arguments else re.sub(r"[\s│]+", " ", done.output)

    return run


def test_runs_of_a_store_are_listed_without_a_server(tmp_path, spot):
    assert "no runs in" in spot("runs")
    run = start(tmp_path, "first")
    use(run, "rollout")
    seen = {"filter": ObservedStage("failed", message="disk full")}
    compute_status(run, seen, state="failed", message="disk full").save(run)
    start(tmp_path, "second")
    told = spot("runs")
    assert "first" in told
    assert "failed, at filter" in told
    assert "No Prefect server answers" in told
    lines = {line["run_name"]: line for line in json.loads(spot("runs", "--json"))}
    assert (lines["first"]["message"], lines["first"]["prefect"]) == ("disk full", None)
    assert (lines["second"]["state"], lines["second"]["stage"]) == ("unfinished", "rollout")
    assert len(json.loads(spot("runs", "--json", "--limit", "1"))) == 1


def test_the_status_of_a_run_says_what_its_last_attempt_left(tmp_path, spot):
    run = start(tmp_path, "first")
    use(run, "rollout")
    compute_status(run, {}, state="failed", message="disk [bold]full[/bold]").save(run)
    told = spot("status", "first")
    assert "run first: failed" in told
    assert "disk [bold]full[/bold]" in told  # as it is
    assert "No Prefect server knows of this run" in told
    assert json.loads(spot("status", "first", "--json"))["stages"][0]["state"] == "made"


def test_two_runs_are_compared_in_the_terminal(tmp_path, spot):
    for name in ("a", "b"):
        use(start(tmp_path, name), "rollout")
    told = spot("compare", "a", "b")
    assert "rollout" in told
    assert "shared" in told
    assert json.loads(spot("compare", "a", "b", "--json"))["settings"] == []


@pytest.mark.parametrize("command", [["status", "nobody"], ["compare", "one", "nobody"]])
def test_an_unknown_run_is_refused_with_the_latest_ones(tmp_path, monkeypatch, capsys, command):
    start(tmp_path, "one")
    monkeypatch.setattr(sys, "argv", ["spot", *command, "--store", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'nobody': no such run" in said
    assert "latest runs: one" in said


def test_cancelling_needs_a_server_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["spot", "cancel", "one"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no Prefect server answers at http://127.0.0.1:9/api" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    heavy = {"prefect", "torch", "transformers", "pandas", "pyarrow", "vllm"}
    program = f"import sys, spot_cli.main; print(*sorted(set(sys.modules) & {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_a_stage_to_begin_from_that_does_not_exist_is_refused_before_anything_starts():
    done = CliRunner().invoke(app, ["run", "--from-stage", "training"], catch_exceptions=False)
    assert done.exit_code == 2
    assert "the stages are rollout, filter, rectify, train, evaluate" in re.sub(r"[\s│]+", " ", done.output)
