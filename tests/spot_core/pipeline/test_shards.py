"""A stage that is divided makes what it makes undivided, whatever was done before and whoever died meanwhile."""

import json
import pickle
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.artifacts import ArtifactStore
from spot_core.artifacts.writer import ROWS_PER_GROUP
from spot_core.checker import CheckerPool
from spot_core.config.oracle import OpenAIOracleConfig
from spot_core.errors import ConfigError, OutageError, PersonNeededError
from spot_core.oracles.budget import Spending
from spot_core.pipeline import filter as filtering
from spot_core.pipeline import shards, stages, verdicts
from spot_core.pipeline.asking import Asking
from spot_core.pipeline.portions import Portion
from spot_core.pipeline.shards import Journals, Tail, batches_of, divided
from spot_core.runs import Run
from tests.spot_core.pipeline.miniature import chats, run_stages
from tests.spot_core.pipeline.test_filter import CHECKER, rollout_of


class Killed(BaseException):
    """Ends a shard as kill -9 would: nobody catches it."""


def copied(what):
    """As it comes to another process."""
    return pickle.loads(pickle.dumps(what))  # noqa: S301 - written here


class Workers:
    """Works on shards one after the other, each time on a copy, as another process would; the last ones first."""

    checking_processes = 1

    def __init__(self, pieces: int, *, at_once: int = 2, dies_in: int | None = None, after: int = 1) -> None:
        self._pieces = pieces
        self.at_once = at_once
        self._dies_in = dies_in
        self._after = after
        self.shards = []

    def pieces(self, rows: int) -> int:
        return min(rows, self._pieces)

    def run(self, work, shards, seen, *, at_once=None) -> None:
        self.shards += shards
        self.work = work
        tail = Tail(work.journals)
        for shard in reversed(shards):
            left = [self._after]

            def die(record, shard=shard, left=left):
                left[0] -= 1
                if shard.number == self._dies_in and not left[0]:
                    self._dies_in = None
                    raise Killed

            try:
                copied(work)(copied(shard), die)
            except Killed:
                copied(work)(shard)
            for record in tail.news():
                seen(record)


ROWS = 450  # none of these needs SymPy


@pytest.fixture
def short_records(monkeypatch):
    monkeypatch.setattr(verdicts, "ROWS_PER_RECORD", 20)


def check(rollout, mapper=None, on_progress=lambda done, total, *, note="": None):
    store, recipe = ArtifactStore(rollout.folder.parents[2]), filtering.recipe(CHECKER, rollout=rollout)
    with store.write(recipe) as slot:
        filtering.make(slot, CHECKER, rollout=rollout, mapper=mapper, on_progress=on_progress)
    return store.get(recipe)


@given(
    st.lists(st.lists(st.integers(0, 10**6), max_size=300, unique=True).map(sorted), max_size=5),
    st.integers(1, 40),
)
def test_every_row_is_in_one_shard_of_about_the_same_size(runs, pieces):
    parts = divided(runs, pieces)
    assert [row for shard in parts for row in shard.rows] == [row for run in runs for row in run]
    assert [shard.number for shard in parts] == list(range(len(parts)))
    rows = sum(map(len, runs))
    assert len(parts) <= pieces + len(runs)
    assert all(0 < len(shard.rows) <= -(-rows // pieces) for shard in parts)


def test_rows_of_an_artifact_are_read_wherever_they_lie(tmp_path):
    rollout = rollout_of(tmp_path, 2 * ROWS_PER_GROUP + 7)
    for rows in (range(3), range(4_990, 5_020), range(9_999, 10_007), range(100, 9_000), range(5, 5)):
        found = [id_ for b in batches_of(rollout, rows, columns=["question_id"]) for id_ in b["question_id"]]
        assert [int(id_.as_py()) for id_ in found] == list(rows)


def test_verdicts_of_shards_are_those_of_one_process_in_spite_of_deaths(tmp_path, short_records):
    undivided = check(rollout_of(tmp_path / "undivided", ROWS))
    progress = []
    workers = Workers(7, dies_in=3)
    artifact = check(
        rollout_of(tmp_path / "divided", ROWS), workers, lambda done, total, note="": progress.append(done)
    )
    assert len(workers.shards) == 7
    assert artifact.digest == undivided.digest
    for name in ("verdicts", "methods", "accuracy"):
        assert artifact.statistics[name] == undivided.statistics[name]
    assert [entry["row"] for entry in artifact.statistics["slowest"]]
    assert progress == sorted(progress)
    assert progress[-1] == ROWS
    assert workers.work.checker.workers == Workers.checking_processes


@pytest.mark.parametrize("before", [None, 5])
@pytest.mark.parametrize("after", [None, 3])
def test_a_stage_goes_on_with_another_number_of_shards_and_checks_no_row_twice(
    tmp_path, monkeypatch, short_records, before, after
):
    undivided = check(rollout_of(tmp_path / "undivided", ROWS))
    checked = []
    really = CheckerPool.check_many
    monkeypatch.setattr(
        CheckerPool, "check_many", lambda p, items: really(p, (checked.append(i) or i for i in items))
    )

    def die(done, total, *, note=""):
        if done >= ROWS // 3:
            raise Killed

    rollout = rollout_of(tmp_path / "divided", ROWS)
    with pytest.raises(Killed):
        check(rollout, before and Workers(before), die)
    store, recipe = ArtifactStore(rollout.folder.parents[2]), filtering.recipe(CHECKER, rollout=rollout)
    with store.write(recipe) as slot:
        missing = verdicts.missing(Journals(slot.work / "verdicts"), range(ROWS))
    checked.clear()
    resumed = check(rollout, after and Workers(after))
    assert len(checked) == sum(map(len, missing)) < ROWS
    assert resumed.digest == undivided.digest


def test_a_shard_that_was_believed_to_be_dead_and_went_on_disturbs_nothing(tmp_path, short_records):
    undivided = check(rollout_of(tmp_path / "undivided", ROWS))
    rollout = rollout_of(tmp_path / "divided", ROWS)
    store, recipe = ArtifactStore(rollout.folder.parents[2]), filtering.recipe(CHECKER, rollout=rollout)

    class Doubled(Workers):
        def run(self, work, shards, seen, *, at_once=None):
            for shard in shards:
                work(shard)
            whole = tmp_path / "whole"
            for path in work.journals.paths():  # all once more: those of before are not seen by this work
                whole.mkdir(exist_ok=True)
                shutil.move(path, whole / path.name)
            super().run(work, divided([range(110, ROWS), range(110)], 3), seen)
            for path in whole.iterdir():
                shutil.move(path, work.journals.folder / path.name)

    assert check(rollout, Doubled(4)).digest == undivided.digest == store.get(recipe).digest


class ElsewhereIndeed(Workers):
    """Workers whose disk is not ours."""

    def run(self, work, shards, seen, *, at_once=None):
        pass


def test_a_store_that_the_machines_do_not_share_is_told_of(configure, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHOWN_SECONDS", 0)
    with pytest.raises(
        ConfigError, match=r"not in .*verdicts: .* file system that all machines of the cluster share"
    ):
        check(rollout_of(tmp_path, ROWS), ElsewhereIndeed(3))
    run = prepared(configure(), "one")
    with pytest.raises(
        ConfigError, match=r"not in .*rows: .* file system that all machines of the cluster share"
    ):
        stages.rectify_failures(run, mapper=ElsewhereIndeed(3))


def digest_of(run, stage="rectify"):
    used = run.record.used[stage]
    return run.store.open(stage, used.key, used.generation).digest


def prepared(config, name):
    run = Run.create(config, name)
    stages.prepare(run)
    stages.roll_out(run)
    stages.check_answers(run)
    return run


@pytest.mark.parametrize("pieces", [1, 4])
def test_pairs_of_shards_are_those_of_one_process_in_spite_of_deaths(configure, tmp_path, pieces):
    undivided = run_stages(configure(store=str(tmp_path / "undivided")), "one")
    run = prepared(configure(store=str(tmp_path / "divided")), "one")
    progress = []
    workers = Workers(pieces, dies_in=0, after=2)
    made = stages.rectify_failures(
        run, lambda done, total, note="": progress.append((done, total, note)), mapper=workers
    )
    assert len(workers.shards) == pieces
    assert made.digest == digest_of(undivided)
    used = undivided.record.used["rectify"]
    assert made.statistics == undivided.store.open("rectify", used.key, used.generation).statistics
    assert progress[-1][:2] == (made.rows, made.rows)
    assert progress[-1][2].startswith(f"{made.statistics['pairs']} pairs")


COSTLY = {"prices": {"teacher": {"input": 1000.0, "output": 2000.0}}}
EACH = 0.1 + 0.1
"""USD of a call."""


def test_shards_ask_about_each_failure_once_and_tell_what_it_cost(fake, with_oracle):
    run = prepared(with_oracle(rectify=COSTLY), "one")
    told, notes = [], []
    artifact = stages.rectify_failures(
        run, lambda done, total, note="": notes.append(note), on_estimate=told.append, mapper=Workers(4)
    )
    assert [estimate.failures for estimate in told] == [artifact.rows]
    assert len(chats(fake)) == artifact.rows == artifact.statistics["status"]["accepted"]
    assert f"${artifact.rows * EACH:,.2f} spent" in notes[-1]
    assert artifact.statistics["calls_repeated"] == 0


def test_what_will_cost_much_is_asked_about_before_any_shard_begins(fake, with_oracle):
    run = prepared(with_oracle(rectify=COSTLY | {"confirm_above_usd": 0.5}), "one")
    workers = Workers(4)
    with pytest.raises(PersonNeededError) as needed:
        stages.rectify_failures(run, mapper=workers)
    assert workers.shards == chats(fake) == []
    run.confirm(needed.value.key)
    assert stages.rectify_failures(run, mapper=workers).rows == len(chats(fake))


def test_an_outage_in_a_shard_fails_the_stage_and_what_was_answered_is_not_asked_again(fake, with_oracle):
    config = with_oracle(concurrency=1, outage_after=2, max_retries=0)
    run = prepared(config, "one")
    fake.fault = lambda body, before: "500" if len(chats(fake)) > 4 else None
    with pytest.raises(OutageError, match="2 calls in a row"):
        stages.rectify_failures(run, mapper=Workers(4))
    answered = [body for body in fake.answered if "messages" in body]
    fake.fault = lambda body, before: None
    fake.asked.clear()
    artifact = stages.rectify_failures(run, mapper=Workers(3))
    assert artifact.statistics["status"] == {"accepted": artifact.rows}
    assert len(chats(fake)) == artifact.rows - len(answered)
    assert not any(body in answered for body in chats(fake))


def test_shards_together_keep_to_a_budget(fake, with_oracle):
    limit = 10.5  # at worst a call takes about 3.2, so the third of a shard is enough for two
    config = with_oracle(rectify=COSTLY, max_cost_usd=limit, max_output_tokens=1_000)
    run = prepared(config, "one")
    artifact = stages.rectify_failures(run, mapper=Workers(3))
    assert 0 < len(chats(fake)) < artifact.rows
    assert artifact.statistics["status"]["not_asked"] == artifact.rows - len(chats(fake))
    reasons = {row["reason"] for row in artifact.rows_as_dicts() if row["status"] == "not_asked"}
    assert reasons == {f"the budget of {limit:g} USD leaves no room for another call"}


def test_the_parts_of_all_shards_are_the_limits_of_the_oracle():
    portion = Portion(at_once=2, shards=4, spent={"teacher": Spending(2.0, 100)})
    oracle = OpenAIOracleConfig(
        model="teacher", max_cost_usd=10.0, max_total_tokens=1_100, concurrency=5, requests_per_minute=60
    )
    taken = portion.taken(oracle, "teacher")
    assert portion.shards * (oracle.max_cost_usd - taken.usd) == pytest.approx(10.0 - 2.0)
    assert portion.shards * (oracle.max_total_tokens - taken.tokens) == 1_100 - 100
    rates = portion.of_rates(oracle)
    assert (rates.concurrency, rates.requests_per_minute, rates.tokens_per_minute) == (2, 30, None)


def test_a_person_gets_what_shards_leave_and_decides_in_the_driver(configure):
    oracle = {"kind": "chain", "oracles": [{"kind": "calculator"}, {"kind": "human"}]}
    run = prepared(configure(rectify={"oracle": oracle, "gamma": 0.2}), "one")
    workers = Workers(3)
    with pytest.raises(PersonNeededError):
        stages.rectify_failures(run, mapper=workers)
    [folder] = run.store.root.glob("rectify/*/review")
    left = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
    skipped = [{"question_id": r["question_id"], "sample": r["sample"], "skip": True} for r in left]
    (folder / "edits.jsonl").write_text("".join(f"{json.dumps(edit)}\n" for edit in skipped))
    workers.shards.clear()
    artifact = stages.rectify_failures(run, mapper=workers)
    assert workers.shards == []
    assert artifact.statistics["status"]["refused"] == len(left)


def test_an_oracle_that_is_served_here_is_asked_here(configure, monkeypatch, caplog):
    caplog.set_level("INFO")
    run = prepared(configure(rectify={"oracle": {"kind": "self"}}), "one")
    asked = []

    async def here(asking, decided, others, replies, *, elsewhere):
        asked.append(elsewhere)
        raise Killed

    monkeypatch.setattr(Asking, "_here", here)
    with pytest.raises(Killed):
        stages.rectify_failures(run, mapper=Workers(3))
    assert asked == [False]
    assert "is served on this machine" in caplog.text
