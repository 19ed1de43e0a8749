"""The topology of docker/compose.yaml on PostgreSQL, natively: a whole run through three work pools, and no secret in sight.

Each secret is a remarkable value that is looked for afterwards in all that the run left, and meanwhile in the command
lines of processes. One endpoint repeats its key in what it refuses, the other in what it answers.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from deployments.kubernetes import job_template
from deployments.local import POOLS
from tests.e2e.canary import shown, shown_in_command_lines, shown_in_files
from tests.e2e.postgres import MISSING, programs
from tests.e2e.topology import Topology
from tests.e2e.wrong_responses import QUESTIONS, corrected, wrong_responses
from tests.spot_core.inference.fake_openai import FakeOpenAI

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(programs() is None, reason=MISSING),
]

SECRETS = {
    "the key in oracle.env": "sk-canary-environment-5d1f/8=",
    "the key in a Secret block": "sk-canary-block-77ac0be2",
    "AWS_SECRET_ACCESS_KEY": "canary/aws+secret0123456789",
    "WANDB_API_KEY": "canarywandb0123456789abcdef0123456789abcd",
}
ENVIRONMENT = {
    "oracle.env": {"TEACHER_KEY": SECRETS["the key in oracle.env"]},
    "store.env": {name: SECRETS[name] for name in ("AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY")},
}


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with Topology(tmp_path_factory.mktemp("cluster"), files=ENVIRONMENT) as topology:
        yield topology


@contextmanager
def watched_command_lines(secrets: dict[str, str]) -> Iterator[set[str]]:
    """Command lines that showed a secret at any time meanwhile."""
    found: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            found.update(shown_in_command_lines(secrets))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def submitted(topology: Topology, run_name: str, config: dict) -> tuple[str, dict]:
    """Runs `spot/full` to its end; what the terminal showed, and the flow run."""
    parameters = ("-p", f"run_name={run_name}", "-p", f"config={json.dumps(config)}")
    done = topology.command("prefect", "deployment", "run", "spot/full", *parameters, "--watch")
    found = topology.api.post("/flow_runs/filter", json={"sort": "START_TIME_DESC"}).json()
    run = next(
        r for r in found if r["parent_task_run_id"] is None and r["parameters"]["run_name"] == run_name
    )
    return done.stdout + done.stderr, run


def pools_of_stages(topology: Topology, run: dict) -> dict[str, str | None]:
    """The work pool of each stage that a flow run began, by the stage's name."""
    of_parent = {"flow_runs": {"parent_flow_run_id": {"any_": [run["id"]]}}}
    flows = {flow["id"]: flow["name"] for flow in topology.api.post("/flows/filter", json={}).json()}
    children = topology.api.post("/flow_runs/filter", json=of_parent).json()
    return {flows[child["flow_id"]]: child["work_pool_name"] for child in children}


def test_a_run_goes_through_the_workers_of_three_pools_and_shows_no_secret(
    topology: Topology, tmp_path: Path
):
    secrets = SECRETS | {
        "the database's password": topology.secrets["POSTGRES_PASSWORD"],
        "the server's password": topology.secrets["PREFECT_API_AUTH_STRING"],
    }
    topology.save_secret("teacher", SECRETS["the key in a Secret block"])
    with (
        FakeOpenAI() as refusing,
        FakeOpenAI() as answering,
        watched_command_lines(secrets) as in_command_lines,
    ):
        refusing.fault = lambda body, before: "401"
        key = SECRETS["the key in a Secret block"]
        answering.chat = lambda body: f"I was asked with Bearer {key}.\n{corrected(body)}"
        first = {"kind": "openai", "model": "m", "base_url": refusing.base_url, "api_key_env": "TEACHER_KEY",
                 "attempts": 1}  # fmt: skip
        second = {"kind": "openai", "model": "m", "base_url": answering.base_url, "api_key_secret": "teacher",
                  "attempts": 1}  # fmt: skip
        config = {
            "store": str(tmp_path / "store"),
            "questions": wrong_responses(tmp_path / "wrong.jsonl"),
            "train": {"ranks": 1, "epochs": 1},
            "evaluate": {"datasets": []},
            "rectify": {"oracle": first},
        }
        failed_said, failed = submitted(topology, "refused", config)
        refusing.fault = lambda body, before: "400"
        config["rectify"] = {"oracle": {"kind": "chain", "oracles": [first, second]}}
        said, run = submitted(topology, "answered", config)

    assert failed["state"]["type"] == "FAILED"
    assert "bad request with Bearer …" in failed["state"]["message"]
    assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
    assert {sent["Authorization"] for sent in refusing.headers} == {
        f"Bearer {SECRETS['the key in oracle.env']}"
    }
    assert {sent["Authorization"] for sent in answering.headers} == {f"Bearer {key}"}
    assert len(answering.answered) == len(QUESTIONS)
    record = json.loads((tmp_path / "store" / "runs" / "answered" / "run.json").read_text())
    assert record["used"]["rectify"]["rows"] == len(QUESTIONS)
    assert record["used"]["train"]["rows"] >= 1

    assert (failed["work_pool_name"], run["work_pool_name"]) == ("cpu", "cpu")
    # The filter runs where the parent does, in the worker of the pool cpu; the second run reuses it.
    assert pools_of_stages(topology, failed) == {"filter": None, "rectify": "api"}
    assert pools_of_stages(topology, run) == {"rectify": "api", "train": "gpu"}
    workers = ("worker-cpu", "worker-api", "worker-no-gpu")
    ran = {
        name: {f for f in ("spot", "rectify", "train") if f"for flow '{f}'" in topology.log(name)}
        for name in workers
    }
    assert ran == {"worker-cpu": {"spot"}, "worker-api": {"rectify"}, "worker-no-gpu": {"train"}}

    kept = [json.loads(path.read_text()) for path in topology.results.iterdir() if path.is_file()]
    serializers = {result["metadata"]["serializer"]["type"] for result in kept if "metadata" in result}
    assert serializers == {"json"}

    assert in_command_lines == set()
    assert shown(failed_said + said, secrets) == []
    assert shown(topology.postgres.dump(), secrets) == []
    assert "bad request with Bearer" in topology.postgres.dump()  # so that the dump shows what there is
    assert shown_in_files([tmp_path, *topology.left], secrets) == []


def test_the_server_answers_nobody_without_its_password_but_the_health_check(topology: Topology):
    url = str(topology.api.base_url)
    for path in ("flow_runs/filter", "block_documents/filter", "variables/filter"):
        for auth in (None, ("spot", "wrong")):
            assert httpx2.post(f"{url}{path}", json={}, auth=auth, trust_env=False).status_code == 401
        assert topology.api.post(path, json={}).status_code == 200
    assert httpx2.get(f"{url}health", trust_env=False).status_code == 200


def test_the_same_deployments_go_to_kubernetes_pools_whose_variables_the_server_checks(topology: Topology):
    for pool in POOLS:  # of processes until now; the last test here that needs them
        assert topology.command("prefect", "--no-prompt", "work-pool", "delete", pool).returncode == 0
    made = topology.command("python", "-m", "deployments.cluster", "--kubernetes")
    assert made.returncode == 0, made.stdout + made.stderr
    for pool in POOLS:
        told = topology.api.get(f"/work_pools/{pool}").json()
        assert (told["type"], told["base_job_template"]) == ("kubernetes", job_template(pool))
    train = topology.api.get("/deployments/name/train/stage").json()
    assert train["work_pool_name"] == "gpu"
    for gpus, accepted in ((8, True), (-1, False), ("many", False)):
        run = {"parameters": {"run_name": "x", "store": "y"}, "job_variables": {"gpus": gpus}}
        answer = topology.api.post(f"/deployments/{train['id']}/create_flow_run", json=run)
        assert answer.is_success is accepted, answer.text
