"""Rectifying with a model behind an API: its key, its outages, and that nothing is paid for twice."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spot_core.errors import ConfigError, EngineError, OutageError, PersonNeededError
from spot_core.pipeline import stages
from spot_core.runs import Run
from tests.spot_core.pipeline.miniature import KEY, chats, run_stages


def rows(run):
    return list(stages.rectify_failures(run).rows_as_dicts())


def test_a_models_edits_become_pairs(fake, with_oracle):
    run = run_stages(with_oracle(), "one")
    pairs = rows(run)
    assert len(pairs) == len(chats(fake)) > 5
    for row in pairs:
        assert row["status"] == "accepted"
        assert row["oracle"] == "teacher"
        assert (row["oracle_input_tokens"], row["oracle_output_tokens"]) == (100, 50)
        assert row["cost_usd"] == pytest.approx(100e-6 + 2 * 50e-6)
        assert row["edit_regions"] == 1


def test_the_key_goes_to_the_endpoint_and_nowhere_else(fake, with_oracle, tmp_path, caplog):
    caplog.set_level("DEBUG")
    fake.fault = lambda body, before: "401" if "messages" in body else None  # repeats the key it was sent
    with pytest.raises(EngineError, match="bad request") as caught:
        run_stages(with_oracle(), "one")
    assert KEY not in str(caught.value)
    fake.fault = lambda body, before: None
    run_stages(with_oracle(), "one")
    sent = {h["Authorization"] for b, h in zip(fake.asked, fake.headers, strict=True) if "messages" in b}
    assert sent == {f"Bearer {KEY}"}
    assert KEY not in caplog.text
    for path in Path(tmp_path).rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_without_its_key_the_stage_says_which_variable_is_missing(fake, with_oracle, monkeypatch):
    monkeypatch.delenv("ORACLE_KEY")
    with pytest.raises(ConfigError, match="ORACLE_KEY"):
        run_stages(with_oracle(), "one")
    assert chats(fake) == []
    monkeypatch.setenv("ORACLE_KEY", KEY)
    assert rows(run_stages(with_oracle(), "one"))


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({}, EngineError, r"no answer for \d+ of \d+ failures"),
        ({"outage_after": 2, "max_retries": 0}, OutageError, "2 calls in a row"),
    ],
)
def test_an_outage_fails_the_stage_and_what_was_answered_is_not_asked_again(
    fake, with_oracle, settings, error, said
):
    fake.fault = lambda body, before: "500" if len(chats(fake)) > 4 else None
    with pytest.raises(error, match=said):
        run_stages(with_oracle(concurrency=1, **settings), "one")
    answered = [body for body in fake.answered if "messages" in body]
    assert len(answered) == 4
    fake.fault = lambda body, before: None
    fake.asked.clear()
    pairs = rows(Run.open(with_oracle().store, "one"))
    assert {row["status"] for row in pairs} == {"accepted"}
    assert len(chats(fake)) == len(pairs) - 4
    assert not any(body in answered for body in chats(fake))


class Killed(BaseException):
    """Ends the stage as a signal would: nobody catches it."""


def test_a_stage_that_is_stopped_again_and_again_pays_no_call_twice_and_gives_the_same_bytes(
    fake, with_oracle, tmp_path
):
    undisturbed = stages.rectify_failures(run_stages(with_oracle(), "one"))
    run = Run.create(with_oracle().model_copy(update={"store": str(tmp_path / "stopped")}), "one")
    stages.prepare(run)
    stages.roll_out(run)
    stages.check_answers(run)
    fake.asked.clear()
    progress = []
    for limit in (2, 5):

        def stop(done, total, *, note="", limit=limit):
            progress.append(done)
            if done == limit:
                raise Killed

        with pytest.raises(Killed):
            stages.rectify_failures(run, stop)
    made = stages.rectify_failures(run, lambda done, total, *, note="": progress.append(done))
    assert made.digest == undisturbed.digest
    assert made.statistics == undisturbed.statistics
    assert len(chats(fake)) == made.rows
    assert progress == [0, 1, 2, 2, 3, 4, 5, *range(5, made.rows + 1)]


def test_one_stubborn_request_among_many_does_not_fail_the_stage(fake, with_oracle, configure, caplog):
    config = with_oracle()
    config = config.model_copy(update={"questions": config.questions.model_copy(update={"count": 60})})
    fake.fault = lambda body, before: "500" if "messages" in body and body == chats(fake)[0] else None
    pairs = rows(run_stages(config, "one"))
    assert [row["status"] for row in pairs].count("oracle_error") == 1
    assert "1 of 35 failures have no answer" in caplog.text
    fake.fault = lambda body, before: None
    fake.asked.clear()
    again = run_stages(config, "two", refresh=("rectify",))
    assert {row["status"] for row in rows(again)} == {"accepted"}
    assert len(chats(fake)) == 1


ONE_CALL = 2 * 50 / 1e6
BY_OUTPUT = {"prices": {"teacher": {"output": 2.0}}}  # then a call costs at most what it does


def test_a_spending_limit_leaves_the_rest_unasked(fake, with_oracle):
    limit = {"max_cost_usd": 3.5 * ONE_CALL, "max_output_tokens": 50}
    pairs = rows(run_stages(with_oracle(**limit, rectify=BY_OUTPUT), "one"))
    assert len(chats(fake)) == 3
    assert sum(row["cost_usd"] for row in pairs) == pytest.approx(3 * ONE_CALL)
    assert sorted(row["status"] for row in pairs) == ["accepted"] * 3 + ["not_asked"] * (len(pairs) - 3)


def test_with_a_higher_limit_a_stage_that_stopped_goes_on_and_counts_what_was_spent(fake, with_oracle):
    settings = {"max_output_tokens": 50, "rectify": BY_OUTPUT | {"when_budget_ends": "stop"}}
    limited = with_oracle(max_cost_usd=3.5 * ONE_CALL, **settings)
    for _ in range(2):  # a retry has no new budget
        with pytest.raises(EngineError, match=r"failures were not asked about.*higher limit"):
            run_stages(limited, "one")
        assert len(chats(fake)) == 3
    pairs = rows(run_stages(with_oracle(**settings), "two"))
    assert {row["status"] for row in pairs} == {"accepted"}
    assert len(chats(fake)) == len(pairs)


def test_what_will_cost_much_is_asked_about_first_with_estimate_and_first_prompt(fake, with_oracle):
    config = with_oracle(rectify={"confirm_above_usd": 1e-6})
    with pytest.raises(
        PersonNeededError, match=r"about \$0\.00, more than rectify\.confirm_above_usd"
    ) as caught:
        run_stages(config, "one")
    assert chats(fake) == []
    run = Run.open(config.store, "one")
    run.confirm(caught.value.key)
    told = []
    pairs = stages.rectify_failures(Run.open(config.store, "one"), on_estimate=told.append)
    [estimate] = told
    assert estimate.oracles[0].calls == estimate.failures == pairs.rows == len(chats(fake))
    assert estimate.first_prompt in [body["messages"][0]["content"] for body in chats(fake)]


def test_a_secret_is_looked_up_by_its_name(fake, with_oracle):
    config = with_oracle(api_key_secret="oracle-key")
    with pytest.raises(ConfigError, match=r"api_key_secret = 'oracle-key'"):
        run_stages(config, "one")
    run = Run.open(config.store, "one")
    stages.rectify_failures(run, secret={"oracle-key": KEY}.__getitem__)
    sent = {h["Authorization"] for b, h in zip(fake.asked, fake.headers, strict=True) if "messages" in b}
    assert sent == {f"Bearer {KEY}"}


def test_a_chain_asks_the_model_only_about_what_the_calculator_leaves(fake, with_oracle, configure):
    # In this run the fake model repairs whatever it is asked; the calculator's share costs nothing.
    model = with_oracle().rectify.oracle.model_dump(mode="json")
    chain = {"kind": "chain", "oracles": [{"kind": "calculator"}, model]}
    config = configure(rectify={"oracle": chain, "gamma": 0.2})
    pairs = rows(run_stages(config, "one"))
    by = {name: [r for r in pairs if r["oracle"] == name] for name in ("calculator", "teacher")}
    assert all(row["status"] == "accepted" and row["cost_usd"] == 0 for row in by["calculator"])
    assert len(by["calculator"]) > 3
    assert len(chats(fake)) == len(by["teacher"]) > 0
    for row in by["teacher"]:
        assert row["history"][0]["oracle"] == "calculator"


def test_the_same_failures_under_another_gamma_are_not_paid_for_again(fake, with_oracle):
    run_stages(with_oracle(), "one")
    paid = len(chats(fake))
    config = with_oracle()
    other = config.model_copy(update={"rectify": config.rectify.model_copy(update={"gamma": 0.3})})
    second = run_stages(other, "two")
    assert not second.record.used["rectify"].reused
    assert len(chats(fake)) == paid


def test_progress_tells_what_was_spent_and_how_much_it_will_be(fake, with_oracle, caplog):
    caplog.set_level("INFO")
    config = with_oracle(rectify={"prices": {"teacher": {"input": 1000.0, "output": 2000.0}}})
    config = config.model_copy(update={"questions": config.questions.model_copy(update={"count": 60})})
    run = Run.create(config, "one")
    stages.prepare(run)
    stages.roll_out(run)
    stages.check_answers(run)
    fake.fault = lambda body, before: None if before else "500"
    notes = []
    pairs = stages.rectify_failures(run, lambda done, total, note="": notes.append(note))
    each = 0.1 + 0.1
    assert f"{pairs.rows} pairs, ${pairs.rows * each:,.2f} spent" in notes[-1]
    assert notes[-1].endswith(f"about ${pairs.rows * each:,.2f} in all")
    assert "in all" not in notes[10]
    assert f"teacher: {2 * pairs.rows} requests; asked again: {pairs.rows} after HTTP 500" in caplog.text


def test_two_runs_at_once_share_the_replies_to_the_same_questions(fake, with_oracle):
    runs = []
    for name, gamma in (("one", 0.6), ("two", 0.3)):
        run = Run.create(with_oracle(rectify={"gamma": gamma}), name)
        stages.prepare(run)
        stages.roll_out(run)
        stages.check_answers(run)
        runs.append(run)
    fake.seconds = 0.3
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(stages.rectify_failures, runs)
    assert first.manifest.key != second.manifest.key
    assert first.rows == second.rows == len(chats(fake))


def test_requests_that_the_endpoint_declines_are_final_and_no_outage(fake, with_oracle):
    fake.fault = lambda body, before: "400" if "messages" in body and len(chats(fake)) > 2 else None
    pairs = rows(run_stages(with_oracle(concurrency=1, outage_after=2, max_retries=0), "one"))
    status = [row["status"] for row in pairs]
    assert sorted(set(status)) == ["accepted", "refused"]
    assert status.count("accepted") == 2
    assert len(chats(fake)) == len(pairs)


def test_an_endpoint_that_declines_everything_is_an_outage(fake, with_oracle):
    fake.fault = lambda body, before: "400" if "messages" in body else None
    with pytest.raises(OutageError, match="HTTP 400"):
        run_stages(with_oracle(concurrency=1, outage_after=3), "one")
    assert len(chats(fake)) == 3


def test_replies_without_usage_count_as_much_as_they_can_over_attempts(fake, with_oracle):
    fake.usage = {}
    settings = {"max_output_tokens": 50, "rectify": BY_OUTPUT | {"when_budget_ends": "stop"}}
    for _ in range(2):
        with pytest.raises(EngineError, match="were not asked about"):
            run_stages(with_oracle(max_cost_usd=3.5 * ONE_CALL, **settings), "one")
        assert len(chats(fake)) == 3
