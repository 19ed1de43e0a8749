"""Rectifying by a person: what is handed over, what comes back, and that nothing of it gets lost."""

import json
import re

import pytest

from spot_core.config.oracle import HumanOracleConfig
from spot_core.errors import PersonNeededError
from spot_core.oracles.human import Edits
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.pipeline.review import Review
from spot_core.runs import Run
from tests.spot_core.pipeline.miniature import run_stages

HUMAN = {"rectify": {"oracle": {"kind": "human", "wait_days": 3}, "gamma": 0.9}}


@pytest.fixture
def waiting(configure):
    """A run whose every failure waits, and its review folder."""
    config = configure(**HUMAN)
    with pytest.raises(PersonNeededError, match="failures wait for a person") as needed:
        run_stages(config, "one")
    assert needed.value.wait_days == 3
    assert needed.value.key is None
    [folder] = (Run.open(config.store, "one").store.root / "rectify").glob("*/review")
    assert str(folder) in str(needed.value)
    assert str(folder / "review.html") in needed.value.page
    return config, folder


def handed_over(folder):
    return [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]


def on_page(folder):
    page = (folder / "review.html").read_text()
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def right(row):
    return re.sub(r"boxed{.*?}", lambda _: f"boxed{{{row['answer']}}}", row["response"])


def edited(row, text):
    return {"question_id": row["question_id"], "sample": row["sample"], "rectified": text}


def skipped(row):
    return {"question_id": row["question_id"], "sample": row["sample"], "skip": True}


def put(folder, *edits):
    (folder / "edits.jsonl").write_text("".join(f"{json.dumps(edit)}\n" for edit in edits))


def again(config, **arguments):
    return stages.rectify_failures(Run.open(config.store, "one"), **arguments)


def statuses(artifact):
    return {
        (row["question_id"], row["sample"]): (row["status"], row["reason"])
        for row in artifact.rows_as_dicts()
    }


def test_every_failure_is_handed_over_with_what_a_person_needs(waiting):
    config, folder = waiting
    checked = Resolver(Run.open(config.store, "one")).filter().artifact
    failed = {r["question_id"]: r for r in checked.rows_as_dicts() if r["verdict"] == "incorrect"}
    rows = handed_over(folder)
    assert len(rows) == len(failed) > 5
    for row in rows:
        assert row.keys() == {
            "question_id", "sample", "question", "answer", "response", "reason", "rectified",
        }  # fmt: skip
        assert (row["reason"], row["rectified"]) == ("", "")
        assert all(row[k] == failed[row["question_id"]][k] for k in ("question", "answer", "response"))
    assert [row["id"] for row in on_page(folder)] == [row["question_id"] for row in rows]


def test_right_edits_become_pairs_wrong_ones_come_back_with_the_reason_and_skips_are_final(waiting):
    config, folder = waiting
    first, second, third, *rest = handed_over(folder)
    wrong = first["response"].replace("boxed{", "boxed{7")
    put(folder, edited(first, wrong), edited(second, right(second)), skipped(third))
    with pytest.raises(PersonNeededError, match="1 of them with an edit that was not accepted") as needed:
        again(config)
    assert f"{len(rest) + 1} of {len(rest) + 3} failures wait" in str(needed.value)
    back = handed_over(folder)
    assert [row["question_id"] for row in back] == [first["question_id"], *(r["question_id"] for r in rest)]
    assert back[0]["rectified"] == on_page(folder)[0]["previous"] == wrong
    assert "judged incorrect" in back[0]["reason"]
    assert all((row["rectified"], row["reason"]) == ("", "") for row in back[1:])

    put(folder, edited(first, right(first)), *map(skipped, rest))
    artifact = again(config)
    became = statuses(artifact)
    for row in (first, second):
        assert became[row["question_id"], row["sample"]] == ("accepted", "")
    for row in (third, *rest):
        assert became[row["question_id"], row["sample"]] == ("refused", "skipped by the reviewer")
    assert len(became) == len(rest) + 3
    accepted = next(r for r in artifact.rows_as_dicts() if r["question_id"] == first["question_id"])
    assert (accepted["rectified"], accepted["oracle"], accepted["attempts"]) == (right(first), "human", 2)
    assert [entry["status"] for entry in accepted["history"]] == ["wrong_answer", "accepted"]
    assert not (folder / "review.html").exists()
    assert not (folder / "failures.jsonl").exists()


def test_an_edit_that_changes_too_much_or_nothing_is_no_pair(configure):
    config = configure(rectify={"oracle": {"kind": "human"}, "gamma": 0.2})
    with pytest.raises(PersonNeededError):
        run_stages(config, "one")
    [folder] = (Run.open(config.store, "one").store.root / "rectify").glob("*/review")
    first, second, *_ = handed_over(folder)
    other = f"Something else, in my own words: it is \\boxed{{{first['answer']}}}"
    put(folder, edited(first, other), edited(second, second["response"]))
    with pytest.raises(PersonNeededError, match="2 of them with an edit that was not"):
        again(config)
    assert "more than 0.2" in handed_over(folder)[0]["reason"]
    assert "unchanged" in handed_over(folder)[1]["reason"]


def test_without_new_edits_the_same_failures_wait_and_a_misnamed_file_is_pointed_at(waiting):
    config, folder = waiting
    before = (folder / "failures.jsonl").read_bytes()
    (folder / "edits (1).jsonl").write_text("")
    with pytest.raises(PersonNeededError, match=r"no new edits\.jsonl was found.*edits \(1\)\.jsonl"):
        again(config)
    assert (folder / "failures.jsonl").read_bytes() == before


def test_edits_that_cannot_be_read_are_waited_for_and_nothing_is_taken(waiting):
    config, folder = waiting
    first, *_ = handed_over(folder)
    (folder / "edits.jsonl").write_text(json.dumps(edited(first, right(first))) + "\n{broken\n")
    with pytest.raises(PersonNeededError, match=r"edits\.jsonl, line 2: not JSON"):
        again(config)
    assert (folder / "edits.jsonl").exists()
    put(folder, edited(first, right(first)))
    with pytest.raises(PersonNeededError, match="failures wait"):
        again(config)
    assert first["question_id"] not in [row["question_id"] for row in handed_over(folder)]


def test_a_stage_that_is_killed_while_it_takes_the_edits_loses_none(waiting, monkeypatch):
    config, folder = waiting
    rows = handed_over(folder)
    put(folder, *(edited(row, right(row)) for row in rows[:4]), *map(skipped, rows[4:]))

    class Killed(BaseException):
        pass

    def die(done, total, *, note=""):
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        again(config, on_progress=die)
    became = statuses(again(config))
    assert [became[r["question_id"], r["sample"]][0] for r in rows] == ["accepted"] * 4 + ["refused"] * (
        len(rows) - 4
    )


def test_what_a_person_did_is_not_asked_for_again_but_what_was_skipped_is(waiting):
    config, folder = waiting
    first, second, *rest = handed_over(folder)
    put(folder, edited(first, right(first)), skipped(second))
    with pytest.raises(PersonNeededError):
        again(config)
    put(folder, *map(skipped, rest))
    again(config)
    with pytest.raises(PersonNeededError):
        run_stages(config, "two", refresh=("rectify",))
    assert [r["question_id"] for r in handed_over(folder)] == [r["question_id"] for r in (second, *rest)]


def test_in_a_chain_a_person_gets_only_what_is_left(configure):
    # Of an edit of the calculator hardly any is small enough.
    oracle = {"kind": "chain", "oracles": [{"kind": "calculator"}, {"kind": "human"}]}
    config = configure(rectify={"oracle": oracle, "gamma": 0.2})
    with pytest.raises(PersonNeededError):
        run_stages(config, "one")
    [folder] = (Run.open(config.store, "one").store.root / "rectify").glob("*/review")
    left = handed_over(folder)
    put(folder, *map(skipped, left))
    by = {r["question_id"]: r for r in again(config).rows_as_dicts()}
    assert 0 < len(left) < len(by)
    for question_id, row in by.items():
        human = question_id in {r["question_id"] for r in left}
        assert row["oracle"] == ("human" if human else "calculator")
        assert row["history"][0]["oracle"] == "calculator"


def test_where_the_store_is_a_bucket_a_person_is_sent_there_and_not_to_the_scratch_of_a_worker(tmp_path):
    place = "s3://bucket/spot/rectify/0123456789abcdef/review"
    review = Review(
        tmp_path / "scratch", place, HumanOracleConfig(kind="human"), "rectify/0123456789abcdef/0", 0.6
    )
    (tmp_path / "scratch").mkdir()
    needed = review.hand_over([], total=0, edits=Edits())
    for said in (str(needed), needed.page, (tmp_path / "scratch" / "review.html").read_text()):
        assert place in said
        assert str(tmp_path) not in said
