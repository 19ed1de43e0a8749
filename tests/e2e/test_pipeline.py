"""The whole pipeline with its real parts: Prefect server and worker, vLLM, DeepSpeed. In the order of a user's day."""

import json
import os
import signal

import psutil
import pyarrow.parquet as pq
import pytest

from spot_core.store import ArtifactStore, schemas
from tests.e2e.conftest import Pipeline, eventually

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

CHAINS = {"kind": "generator", "name": "demo-chains", "count": 60, "seed": 1000, "split": "evaluation"}
STRINGS = {"kind": "generator", "name": "demo-strings", "count": 60, "seed": 1000, "split": "evaluation"}
DATASETS = [
    {"name": "chains", "role": "in_domain", "questions": CHAINS},
    {"name": "strings", "role": "retention", "questions": STRINGS, "checker": {"kind": "exact"}},
]
SUMMARY_KEYS = {
    "accuracy_before", "accuracy_after", "retention_before", "retention_after", "questions", "failures", "pairs",
    "change_ratio", "objective", "final_loss", "reward_chosen", "reward_rejected", "seconds", "stages",
}  # fmt: skip


def test_a_run_goes_from_questions_to_a_measured_checkpoint(pipeline: Pipeline):
    done = pipeline.run("first", evaluate__datasets=DATASETS)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = pipeline.summary("first")
    assert summary.keys() >= SUMMARY_KEYS
    assert not [key for key in SUMMARY_KEYS if summary[key] is None]
    assert summary["failures"] >= summary["pairs"] > 20
    assert summary["reward_chosen"] > summary["reward_rejected"]
    assert not summary["skipped"]
    report = pipeline.store / "runs" / "first" / "report" / "rectify"
    assert {path.name for path in report.iterdir()} == {
        "statistics.parquet",
        "change_ratio.png",
        "pairs.html",
    }


def test_every_artifact_keeps_the_contract(pipeline: Pipeline):
    store = ArtifactStore(pipeline.store)
    folders = {path.parent for path in pipeline.store.glob("*/*/*/manifest.json")}
    assert {folder.parts[-3] for folder in folders} == set(schemas.BY_STAGE)
    for folder in folders:
        assert store.damage(folder) is None
        for part in folder.glob("part-*.parquet"):
            assert pq.read_schema(part).equals(schemas.BY_STAGE[folder.parts[-3]])
    checkpoint = next(pipeline.store.glob("train/*/0/checkpoint"))
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in checkpoint.iterdir()
    }


def test_the_same_run_again_makes_nothing(pipeline: Pipeline):
    before = pipeline.made()
    done = pipeline.run("again", evaluate__datasets=DATASETS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pipeline.made() == before
    assert all(stage["reused"] for stage in pipeline.summary("again")["stages"].values())


def test_one_changed_setting_runs_only_the_stages_it_concerns(pipeline: Pipeline):
    before = pipeline.made()
    done = pipeline.run("dpo", train__objective="dpo")
    assert done.returncode == 0, done.stdout + done.stderr
    new = {path.split("/")[0] for path in pipeline.made().keys() - before.keys()}
    # Without evaluation sets to keep them apart from, the questions are read anew; their content is the same, so
    # rollout, filter, rectify and reference have the same keys.
    assert new == {"questions", "train"}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ('{"rectify": {"gamma": 1.5}}', "gamma"),
        ('{"train": {"betta": 1}}', "betta"),
        ('{"rollout": {"top_p": "x"}}', "top_p"),
    ],
)
def test_a_wrong_field_is_refused_at_submission(pipeline: Pipeline, config: str, field: str):
    done = pipeline.command("prefect", "deployment", "run", "spot/full", "-p", f"config={config}")
    assert done.returncode != 0
    assert field in done.stdout + done.stderr


def test_a_wrong_combination_is_refused_before_the_first_stage(pipeline: Pipeline):
    config = {"rollout": {"max_new_tokens": 100_000}, "store": str(pipeline.store)}
    done = pipeline.command(
        "prefect", "deployment", "run", "spot/full", "--watch",
        "-p", "run_name=too-long", "-p", f"config={json.dumps(config)}",
    )  # fmt: skip
    assert done.returncode != 0
    assert "max_new_tokens" in pipeline.flow_run("too-long")["state"]["message"]
    assert not (pipeline.store / "runs" / "too-long").exists()


def test_the_command_line_refuses_wrong_settings_naming_the_field(pipeline: Pipeline):
    done = pipeline.run("refused", rectify__gamma=1.5)
    assert done.returncode == 2
    assert "rectify.gamma" in done.stderr
    assert "Traceback" not in done.stderr


def test_killing_flow_and_worker_loses_and_doubles_no_row(pipeline: Pipeline):
    watcher = pipeline.start("killed", rollout__seed=11)
    journal = eventually(
        lambda: next(
            (p for p in pipeline.store.glob("rollout/*/0/.work/rows.jsonl") if p.stat().st_size > 2000), None
        ),
        240,
        "the rollout has rows",
    )
    kept = journal.read_bytes()
    flow_run = pipeline.flow_run("killed")
    worker = next(
        p
        for p in pipeline.processes("worker", "start", "spot-local")
        if p.environ().get("PREFECT_API_URL") == pipeline.api
    )
    flows = pipeline.of_flow_runs(flow_run["id"])
    assert flows
    for process in (worker, *flows):
        process.send_signal(signal.SIGKILL)
    watcher.kill()
    eventually(
        lambda: not pipeline.processes("vllm.entrypoints", "policy", str(_student())),
        30,
        "no vLLM server is left",
    )
    assert journal.read_bytes().startswith(kept)
    pipeline.set_state(flow_run["id"], "CRASHED", "Crashed")  # as the automation does after missed heartbeats
    assert pipeline.command("spot", "up").returncode == 0
    retried = pipeline.command("prefect", "flow-run", "retry", flow_run["id"])
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert pipeline.ended(flow_run["id"], 400)["type"] == "COMPLETED"
    rows = ArtifactStore(pipeline.store)
    part = pq.read_table(next((rows.root / "rollout" / journal.parts[-4] / "0").glob("part-*.parquet")))
    ids = part.column("question_id").to_pylist()
    assert len(ids) == len(set(ids)) == 160


def test_a_killed_rank_fails_the_stage_and_the_retry_goes_on_from_its_checkpoint(pipeline: Pipeline):
    before = pipeline.made()
    watcher = pipeline.start("rank", rollout__seed=11, train__epochs=20, train__seed=5)
    eventually(
        lambda: list(pipeline.store.glob("train/*/0/.work/scratch/state/*")), 200, "a checkpoint is there"
    )
    ranks = pipeline.processes("spot_core.training.worker")
    os.kill(ranks[-1].pid, signal.SIGKILL)
    output, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 1, output
    assert "train" in output
    eventually(lambda: not pipeline.processes("spot_core.training.worker"), 10, "no rank is left")
    flow_run = pipeline.flow_run("rank")
    assert flow_run["state"]["type"] == "FAILED"
    upstream = {path: when for path, when in pipeline.made().items() if not path.startswith("train")}
    retried = pipeline.command("prefect", "flow-run", "retry", flow_run["id"])
    assert retried.returncode == 0, retried.stdout + retried.stderr
    assert pipeline.ended(flow_run["id"], 300)["type"] == "COMPLETED"
    after = pipeline.made()
    assert {path: after[path] for path in upstream} == upstream
    assert {path.split("/")[0] for path in after.keys() - before.keys()} == {"train"}


def test_no_accepted_pair_ends_the_run_successfully_and_says_why(pipeline: Pipeline):
    done = pipeline.run("no-pairs", train__context_length=16)  # shorter than any pair
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no pair was accepted" in pipeline.summary("no-pairs")["skipped"]["train"]


def test_down_leaves_nothing_running(pipeline: Pipeline):
    ours = [p for p in psutil.process_iter() if _has_api(p, pipeline.api)]
    assert ours
    assert pipeline.command("spot", "down").returncode == 0
    eventually(
        lambda: not [p for p in ours if p.is_running() and p.status() != psutil.STATUS_ZOMBIE],
        20,
        "all are gone",
    )
    assert pipeline.command("spot", "up").returncode == 0  # for the tests of other files that come after


def _student() -> str:
    from spot_core.demo import STUDENT_PATH

    return str(STUDENT_PATH)


def _has_api(process: psutil.Process, api: str) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get("PREFECT_API_URL") == api
    except psutil.Error:
        return False
