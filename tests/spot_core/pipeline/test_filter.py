"""The filter stage keeps every row, checks none twice, and makes the same bytes however it was interrupted."""

import multiprocessing
import time

import pytest

from spot_core.checker import CheckerPool, CheckItem, Verdict
from spot_core.config.checker import CheckerConfig
from spot_core.pipeline import filter as filtering
from spot_core.store import Artifact, ArtifactStore, Recipe
from spot_core.store.writer import ROWS_PER_GROUP

CHECKER = CheckerConfig(workers=1)
FORMS = ("A: {}", r"So \boxed{{{}}}.", "", "The answer is {}.", r"\boxed{{\frac{{x}}{{{}}}}}")


def rollout_of(root, rows: int) -> Artifact:
    store, recipe = ArtifactStore(root), Recipe("rollout", {"rows": rows}, {}, 1)
    with store.write(recipe) as slot:
        if not isinstance(slot, Artifact):
            slot.complete((_row(n, rows) for n in range(rows)), statistics={})
    return store.get(recipe)


def _row(number: int, rows: int) -> dict:
    form = FORMS[number % 4] if number % 1000 != 500 else FORMS[4]
    return {
        "question_id": f"{number:016d}",
        "sample": 0,
        "question": f"What is {number}?",
        "answer": str(number - number % 3 // 2),
        "source": "test",
        "prompt_token_ids": [number, number + 1],
        "response": form.format(number),
        "response_token_ids": list(range(number % 5)),
        "ids_sampled": True,
        "finish_reason": "length" if number % 100 == 99 else "stop",
        "seed": number if number % 2 else None,
        "checker": None,
        "metadata": None,
    }


def filtered(rollout: Artifact, on_progress=lambda done, total, *, note="": None) -> Artifact:
    store = ArtifactStore(rollout.folder.parents[2])
    with store.write(filtering.recipe(CHECKER, rollout=rollout)) as slot:
        filtering.make(slot, CHECKER, rollout=rollout, on_progress=on_progress)
    return store.get(filtering.recipe(CHECKER, rollout=rollout))


def filter_until_killed(root, rows: int, reached) -> None:
    rollout = rollout_of(root, rows)

    def wait_for_the_kill(done: int, total: int, *, note: str = "") -> None:
        if done >= total // 3:
            reached.set()
            time.sleep(600)

    filtered(rollout, wait_for_the_kill)


def test_rows_are_checked_as_they_say_themselves(tmp_path):
    store, recipe = ArtifactStore(tmp_path), Recipe("rollout", {"kinds": True}, {}, 1)
    kinds = [
        (None, "So \\boxed{2.0}", "2", None, "correct"),
        ("numeric", "So \\boxed{2.01}", "2", None, "correct"),
        ("numeric", "So \\boxed{2.1}", "2", None, "incorrect"),
        ("multiple_choice", "Answer: (B) 2", "B", None, "correct"),
        ("exact", "So \\boxed{2}", "2", None, "incorrect"),
        ("pattern", "22", "2+", None, "correct"),
        (
            "reasoning_gym",
            "<answer>5 - 3</answer>",
            "3",
            '{"source_dataset": "countdown", "numbers": [5, 3], "target": 2}',
            "correct",
        ),
    ]
    with store.write(recipe) as slot:
        slot.complete(
            (
                _row(n, len(kinds))
                | {"checker": kind, "response": said, "answer": gold, "metadata": metadata}
                for n, (kind, said, gold, metadata, _) in enumerate(kinds)
            ),
            statistics={},
        )
    artifact = filtered(store.get(recipe))
    assert [row["verdict"] for row in artifact.rows_as_dicts()] == [verdict for *_, verdict in kinds]


def test_every_row_keeps_its_columns_and_gets_its_verdict(tmp_path):
    rollout = rollout_of(tmp_path, 1_200)
    artifact = filtered(rollout)
    added = ("extracted_answer", "method", "verdict")
    rows = list(artifact.rows_as_dicts())
    assert [{k: v for k, v in row.items() if k not in added} for row in rows] == list(rollout.rows_as_dicts())
    for number, row in enumerate(rows):
        if number % 100 == 99:
            assert row["verdict"] == "truncated"
        elif number % 4 == 2:
            assert (row["verdict"], row["extracted_answer"]) == ("no_answer", None)
        elif number % 1000 != 500:
            right = row["answer"] == str(number)
            assert (row["verdict"], row["extracted_answer"]) == (
                "correct" if right else "incorrect",
                str(number),
            )


def test_statistics_count_every_row_and_name_the_slowest(tmp_path):
    artifact = filtered(rollout_of(tmp_path, 1_200))
    figures = artifact.statistics
    assert sum(figures["verdicts"].values()) == sum(figures["methods"].values()) == 1_200
    assert figures["accuracy"] == figures["verdicts"]["correct"] / 1_200
    slowest = figures["slowest"]
    assert [entry["seconds"] for entry in slowest] == sorted((e["seconds"] for e in slowest), reverse=True)
    assert len(slowest) == filtering.SLOWEST
    assert all(entry["row"] == int(entry["question_id"]) for entry in slowest)
    assert 500 in [entry["row"] for entry in slowest]  # the only one that needs SymPy


def test_a_rollout_without_rows_gives_verdicts_without_rows(tmp_path):
    artifact = filtered(rollout_of(tmp_path, 0))
    assert artifact.rows == 0
    assert artifact.statistics["accuracy"] is None
    assert artifact.statistics["slowest"] == []


@pytest.fixture
def checked(monkeypatch) -> list[CheckItem]:
    """Receives every item that is checked in this process from now on."""
    items = []
    really = CheckerPool.check_many
    monkeypatch.setattr(
        CheckerPool, "check_many", lambda pool, given: really(pool, (items.append(i) or i for i in given))
    )
    return items


def test_kill_9_in_the_middle_checks_no_journaled_row_again_and_gives_the_same_bytes(tmp_path, checked):
    rows = 2 * ROWS_PER_GROUP + 7
    undisturbed = filtered(rollout_of(tmp_path / "undisturbed", rows))
    context = multiprocessing.get_context("spawn")
    reached = context.Event()
    stage = context.Process(target=filter_until_killed, args=(tmp_path / "killed", rows, reached))
    stage.start()
    assert reached.wait(120)
    stage.kill()
    stage.join(30)

    rollout = rollout_of(tmp_path / "killed", rows)
    recipe = filtering.recipe(CHECKER, rollout=rollout)
    with ArtifactStore(tmp_path / "killed").write(recipe) as slot:
        journaled = sum(len(record["verdict"]) for record in slot.journal("verdicts"))
    assert rows // 3 <= journaled < rows
    checked.clear()
    resumed = filtered(rollout)
    assert len(checked) == rows - journaled
    assert resumed.digest == undisturbed.digest
    for name in ("verdicts", "methods"):
        assert list(resumed.statistics[name].items()) == list(undisturbed.statistics[name].items())


class Killed(BaseException):
    """Ends the stage as a signal would: nobody catches it."""


def test_a_stage_that_is_stopped_again_and_again_goes_on_where_it_was(tmp_path, checked):
    rows = ROWS_PER_GROUP + 7
    undisturbed = filtered(rollout_of(tmp_path / "undisturbed", rows))
    rollout = rollout_of(tmp_path / "stopped", rows)
    progress = []
    checked.clear()
    for limit in (1, 2_000, 4_200):  # twice in the first batch that is read, and once in the second

        def stop(done: int, total: int, *, note: str = "", limit: int = limit) -> None:
            progress.append(done)
            if done >= limit:
                raise Killed

        with pytest.raises(Killed):
            filtered(rollout, stop)
        reached, given = progress[-1], len(checked)
        assert limit <= reached < rows
    assert (
        filtered(rollout, lambda done, total, *, note="": progress.append(done)).digest == undisturbed.digest
    )
    assert [item.response for item in checked[given:]] == [
        row["response"] for row in list(rollout.rows_as_dicts())[reached:]
    ]
    assert progress == sorted(set(progress))
    assert progress[-1] == rows


@pytest.mark.parametrize("verdicts", [4, 6])
def test_a_journal_that_does_not_fit_the_rows_gives_no_artifact(tmp_path, monkeypatch, verdicts):
    rollout = rollout_of(tmp_path, 5)
    recipe = filtering.recipe(CHECKER, rollout=rollout)
    monkeypatch.setattr(CheckerPool, "check_many", lambda pool, items: iter(()))
    columns = {"extracted_answer": "1", "method": "m", "verdict": "correct", "seconds": 0.0}
    with ArtifactStore(tmp_path).write(recipe) as slot:
        slot.journal("verdicts").append({name: [value] * verdicts for name, value in columns.items()})
    with pytest.raises(ValueError, match=r"zip\(\)"):
        filtered(rollout)
    assert ArtifactStore(tmp_path).find(recipe) is None


def verdict(seconds: float) -> Verdict:
    return Verdict("correct", "1", "boxed/exact", seconds)


def test_a_record_is_written_after_a_tenth_of_a_second_of_checks():
    sizes = [
        len(record["verdict"])
        for record in filtering.group_verdicts(
            verdict(seconds) for seconds in [0.03] * 10 + [2.0, 0.001, 0.001]
        )
    ]
    assert sizes == [4, 4, 3, 2]


def test_a_record_holds_only_so_many_rows():
    most = filtering.VERDICTS_PER_RECORD
    records = list(filtering.group_verdicts(verdict(0.0) for _ in range(most + 1)))
    assert [len(record["seconds"]) for record in records] == [most, 1]


@pytest.mark.parametrize("size", [1, 3, 50])
def test_the_slowest_rows_are_the_same_however_they_were_journaled(size):
    seconds = [(n * 37 % 101) / 100 for n in range(100)]
    journaled = [seconds[start : start + size] for start in range(0, 100, size)]
    tally = filtering.Tally()
    counted = tally.count_verdicts(
        {"seconds": here, "verdict": ["correct"] * len(here), "method": ["m"] * len(here)}
        for here in journaled
    )
    assert list(counted) == ["correct"] * 100
    assert tally.verdicts == {"correct": tally.rows}
    expected = sorted(((s, n) for n, s in enumerate(seconds)), reverse=True)[: filtering.SLOWEST]
    assert tally.slowest == expected
