"""The comparison of two runs sees a row that is lost, one that is doubled, and a byte that differs."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from spot_core.config.spot import SpotConfig
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run
from tests.chaos.small import small_settings
from tests.chaos.verdict import compare

Rows = list[dict[str, Any]]


def up_to_the_pairs(folder: Path, name: str) -> Run:
    settings = small_settings(folder) | {"rectify": {"oracle": {"kind": "calculator"}}}
    run = Run.create(SpotConfig.from_profile("demo", **settings | {"store": str(folder / name)}), name)
    stages.prepare(run)
    stages.roll_out(run)
    stages.check_answers(run)
    stages.rectify_failures(run)
    return run


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return up_to_the_pairs(tmp_path_factory.mktemp("calm"), "calm")


def with_other_pairs(folder: Path, change: Callable[[Rows], Iterable[dict[str, Any]]]) -> Run:
    """A run whose rectified rows somebody has changed."""
    run = up_to_the_pairs(folder, "disturbed")
    recipe, rows = (
        Resolver(run).rectify().recipe,
        list(run.store.get(Resolver(run).rectify().recipe).rows_as_dicts()),
    )
    with run.store.write(recipe, at_least=1) as writer:
        writer.complete(change(rows), statistics={})
    run.use("rectify", run.store.get(recipe, at_least=1), reused=False)
    return run


def test_the_same_run_elsewhere_is_the_same(calm: Run, tmp_path: Path):
    verdict = compare(up_to_the_pairs(tmp_path, "disturbed"), calm)
    assert (verdict.rows_lost, verdict.rows_doubled) == (0, 0)
    assert verdict.identical == {"rollout": True, "filter": True, "rectify": True}
    assert verdict.same_pairs
    assert verdict.pairs == 48


def test_a_lost_row_is_seen(calm: Run, tmp_path: Path):
    verdict = compare(with_other_pairs(tmp_path, lambda rows: rows[1:]), calm)
    assert (verdict.rows_lost, verdict.rows_doubled) == (1, 0)
    assert not verdict.identical["rectify"]
    assert not verdict.same_pairs


def test_a_doubled_row_is_seen(calm: Run, tmp_path: Path):
    verdict = compare(with_other_pairs(tmp_path, lambda rows: [rows[0], *rows]), calm)
    assert (verdict.rows_lost, verdict.rows_doubled) == (0, 1)
    assert not verdict.identical["rectify"]


def test_another_edit_is_seen_although_no_row_is_missing(calm: Run, tmp_path: Path):
    def other(rows: Rows) -> Rows:
        return [rows[0] | {"rectified_token_ids": rows[1]["rectified_token_ids"]}, *rows[1:]]

    verdict = compare(with_other_pairs(tmp_path, other), calm)
    assert (verdict.rows_lost, verdict.rows_doubled) == (0, 0)
    assert not verdict.same_pairs


def test_a_stage_that_is_missing_is_lost_whole(calm: Run, tmp_path: Path):
    run = up_to_the_pairs(tmp_path, "disturbed")
    del run.record.used["filter"]
    verdict = compare(run, calm)
    assert verdict.rows_lost == 48
    assert not verdict.identical["filter"]
