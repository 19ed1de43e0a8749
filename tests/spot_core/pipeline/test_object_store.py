"""A run in a bucket makes the same artifacts as one in a folder, though every stage is on another machine."""

import json
import shutil

from spot_core.pipeline import stages
from spot_core.report.summary import write_summary
from spot_core.runs import Run
from tests.spot_core.pipeline.miniature import run_stages
from tests.stores import Keeper


def test_each_stage_may_be_on_a_machine_that_knows_nothing_but_the_bucket(
    configure, bucket, tmp_path, monkeypatch
):
    few = {"kind": "generator", "name": "demo-chains", "count": 8}
    expected = run_stages(configure(questions=few), "one")
    work = (stages.prepare, stages.roll_out, stages.check_answers, stages.rectify_failures, write_summary)
    run = Run.create(configure(store=bucket, questions=few), "one")
    for number, stage in enumerate(work):
        scratch = tmp_path / f"machine-{number}"
        monkeypatch.setenv("SPOT_SCRATCH", str(scratch))
        run = Run.open(bucket, "one")
        stage(run)
        shutil.rmtree(scratch)
    used = Run.open(bucket, "one").record.used
    assert {name: artifact.digest for name, artifact in used.items()} == {
        name: artifact.digest for name, artifact in expected.record.used.items()
    }
    kept = Keeper(bucket)
    assert json.loads(kept.read("runs/one/summary.json"))["pairs"] > 0
    assert not [name for name in kept.names() if ".work" in name]
