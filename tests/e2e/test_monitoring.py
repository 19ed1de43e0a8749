"""What a person sees of a run, on a real server: its page while it goes on and after, the commands, and cancelling."""

import json

import httpx2
import pytest

from tests.e2e.conftest import Pipeline, eventually
from tests.e2e.wrong_responses import KEY, QUESTIONS, paid_oracle, store_secret, wrong_responses
from tests.spot_core.inference.fake_openai import FakeOpenAI

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


def cheap(tmp_path) -> dict:
    """Settings of a run that begins with wrong responses and trains nothing: no pair fits the context."""
    source = wrong_responses(tmp_path / "wrong.jsonl")
    return {"questions": source, "train__ranks": 1, "evaluate__datasets": [], "train__context_length": 16}


def spot(pipeline: Pipeline, *arguments: str, status: int = 0) -> str:
    done = pipeline.command("spot", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def asked_json(pipeline: Pipeline, *arguments: str):
    return json.loads(spot(pipeline, *arguments, "--store", str(pipeline.store), "--json"))


def pages(pipeline: Pipeline, flow_run: str) -> list[dict]:
    wanted = {"flow_run_id": {"any_": [flow_run]}, "key": {"any_": ["run"]}}
    return httpx2.post(f"{pipeline.api}/artifacts/filter", json={"artifacts": wanted}, trust_env=False).json()


@pytest.mark.slow
def test_a_run_can_be_seen_while_it_goes_on_cancelled_gone_on_with_and_compared(
    pipeline: Pipeline,
    tmp_path,
    teacher: FakeOpenAI,
):
    pipeline, settings = pipeline.at(tmp_path / "store"), cheap(tmp_path)
    teacher.seconds = 600  # never answers
    store_secret(pipeline, "patient-key", KEY)
    asking = {"oracle": paid_oracle(teacher, secret="patient-key")}
    watching = pipeline.start("seen", **settings, rectify=asking, dispatch__stages="deployments")
    eventually(lambda: teacher.asked or watching.poll() is not None, 240, "the Oracle is asked")
    assert watching.poll() is None, watching.communicate()[0]
    flow_run = pipeline.flow_run("seen")["id"]
    eventually(
        lambda: any("at stage **rectify**" in page["data"] for page in pages(pipeline, flow_run)),
        30,
        "the page says so",
    )
    [now] = pages(pipeline, flow_run)
    stage = pipeline.flow_run("seen", "rectify")["id"]
    assert f"[rectify](/runs/flow-run/{stage}) | running |" in now["data"]
    assert "# Run seen is running" in now["data"]
    [line] = asked_json(pipeline, "runs")
    assert (line["run_name"], line["state"], line["stage"]) == ("seen", "running", "rectify")
    assert line["prefect"] == "Running"
    stages = {s["name"]: s["state"] for s in asked_json(pipeline, "status", "seen")["stages"]}
    assert stages == {
        "rollout": "made", "filter": "made", "rectify": "running", "train": "to do", "evaluate": "skipped",
    }  # fmt: skip
    assert "seen is cancelled" in spot(pipeline, "cancel", "seen")
    watching.communicate(timeout=60)
    states = {flow: pipeline.flow_run("seen", flow)["state"]["name"] for flow in ("spot", "rectify")}
    assert states == {"spot": "Cancelled", "rectify": "Cancelled"}
    assert "nothing runs for 'seen'" in spot(pipeline, "cancel", "seen", status=1)
    assert not pipeline.of_flow_runs(flow_run, stage)

    for name, gamma in (("loose", 0.6), ("strict", 0.001)):
        done = pipeline.run(name, **settings, rectify={"gamma": gamma})
        assert done.returncode == 0, done.stdout + done.stderr
    [after] = pages(pipeline, pipeline.flow_run("loose")["id"])
    assert "# Run loose is complete" in after["data"]
    stage = pipeline.flow_run("loose", "rectify")["id"]
    assert f"| [rectify](/runs/flow-run/{stage}) | made | {len(QUESTIONS)} failures |" in after["data"]
    lines = {line["run_name"]: line for line in asked_json(pipeline, "runs")}
    assert [line["run_name"] for line in asked_json(pipeline, "runs", "--limit", "2")] == ["strict", "loose"]
    assert (lines["loose"]["state"], lines["loose"]["prefect"]) == ("complete", "Completed")
    assert lines["seen"]["prefect"] == "Cancelled"

    compared = asked_json(pipeline, "compare", "loose", "strict")
    assert compared["settings"] == [{"path": "rectify.gamma", "a": 0.6, "b": 0.001}]
    verdicts = {artifact["name"]: artifact["verdict"] for artifact in compared["artifacts"]}
    assert verdicts == {"rollout": "shared", "filter": "shared", "rectify": "differs"}
    parameters = ("-p", "a=loose", "-p", "b=strict", "-p", f"store={pipeline.store}")
    run = pipeline.command("prefect", "deployment", "run", "compare/runs", *parameters, "--watch")
    assert run.returncode == 0, run.stdout + run.stderr
    in_ui = httpx2.get(f"{pipeline.api}/artifacts/compare/latest", trust_env=False).json()
    assert "| rectify.gamma | 0.6 | 0.001 |" in in_ui["data"]
    assert "no such run" in spot(pipeline, "status", "nobody", "--store", str(pipeline.store), status=2)


@pytest.mark.slow
def test_the_page_of_a_failed_run_says_why_and_a_waiting_one_can_be_cancelled(
    pipeline: Pipeline,
    tmp_path,
    teacher: FakeOpenAI,
):
    pipeline, settings = pipeline.at(tmp_path / "store"), cheap(tmp_path)
    failed = pipeline.run("broken", **settings, rectify={"oracle": paid_oracle(teacher, secret="nowhere")})
    assert failed.returncode == 1, failed.stdout + failed.stderr
    [told] = pages(pipeline, pipeline.flow_run("broken")["id"])
    assert "# Run broken failed" in told["data"]
    assert "there is no Secret block of this name" in told["data"]
    waits = pipeline.run("patient", **settings, rectify={"oracle": {"kind": "human"}})
    assert waits.returncode == 3, waits.stdout + waits.stderr
    [told] = pages(pipeline, pipeline.flow_run("patient")["id"])
    assert "# Run patient waits for a person" in told["data"]
    assert f"{len(QUESTIONS)} failures wait for a person" in told["data"]
    assert "patient is cancelled" in spot(pipeline, "cancel", "patient")
    assert pipeline.flow_run("patient")["state"]["name"] == "Cancelled"
