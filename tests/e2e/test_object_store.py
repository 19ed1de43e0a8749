"""The whole flow through a real server and worker, in a bucket."""

import shutil

import pytest

from spot_core.runs import Run
from tests.e2e.conftest import Pipeline
from tests.e2e.wrong_responses import wrong_responses
from tests.s3_server import SECRET
from tests.stores import Keeper

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_machine_that_forgot_everything_reuses_what_is_in_the_bucket(make_bucket, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    monkeypatch.setenv("SPOT_SCRATCH", str(scratch))
    location = f"s3://{make_bucket()}/spot"
    settings = {
        "store": location,
        "questions": wrong_responses(tmp_path / "wrong.jsonl"),
        "train__context_length": 16,  # no pair is left, so training is skipped
    }
    (tmp_path / "services").mkdir()
    pipeline = Pipeline(tmp_path / "services")
    try:
        up = pipeline.command("spot", "up")
        assert up.returncode == 0, up.stdout + up.stderr
        for name in ("first", "second"):
            done = pipeline.run(name, **settings)
            assert done.returncode == 0, done.stdout + done.stderr
            shutil.rmtree(scratch)
    finally:
        pipeline.command("spot", "down")
    first, second = (Run.open(location, name).record for name in ("first", "second"))
    assert {"rollout", "filter", "rectify"} <= second.used.keys()
    assert all(artifact.reused for artifact in second.used.values())
    assert not any(artifact.reused for artifact in first.used.values())
    kept = Keeper(location)
    assert {"runs/first/summary.json", "runs/second/summary.json"} <= set(kept.names())
    assert not any(SECRET.encode() in kept.read(name) for name in kept.names())
