"""The whole demo with a student whose tokenizer names another end of a turn than the one that it writes."""

import pytest

from spot_core.store import ArtifactStore
from tests.e2e.conftest import Pipeline
from tests.twin import write_twin

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1800)]

CHAINS_AFTER = 0.893
"""Accuracy of the unmodified student after the demo: the README's figure."""


def test_another_name_for_the_end_of_a_turn_changes_nothing(pipeline: Pipeline, tmp_path):
    here = pipeline.at(tmp_path / "store")
    settings = {"store": str(here.store), "model.path": str(write_twin(tmp_path / "twin"))}
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    done = here.command("spot", "run", "--profile", "demo", "--run-name", "twin", *arguments, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = here.store.glob("rectify/*/0")
    rows = [
        r
        for r in ArtifactStore(here.store).open("rectify", folder.parent.name, 0).rows_as_dicts()
        if r["status"] == "accepted"
    ]
    assert len(rows) > 600
    assert not [r for r in rows if r["rectified_token_ids"][-1] != r["response_token_ids"][-1]]
    summary = here.summary("twin")
    print(
        summary["accuracy_before"],
        summary["accuracy_after"],
        summary["retention_before"],
        summary["retention_after"],
    )
    assert abs(summary["accuracy_after"] - CHAINS_AFTER) <= 0.04
    assert summary["retention_after"] >= summary["retention_before"] - 0.02
