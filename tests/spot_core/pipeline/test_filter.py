"""The filter stage keeps every row, checks none twice, and makes the same bytes however it was interrupted."""

import multiprocessing
import time

import pytest

from spot_core.artifacts import Artifact, ArtifactStore, Recipe
from spot_core.artifacts.writer import ROWS_PER_GROUP
from spot_core.checker import CheckerPool, Verdict
from spot_core.config.checker import CheckerConfig
from spot_core.pipeline import filter as filtering
from spot_core.pipeline import verdicts
from spot_core.pipeline.shards import Journals

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
    assert len(slowest) == verdicts.SLOWEST
    assert all(entry["row"] == int(entry["question_id"]) for entry in slowest)
    assert 500 in [entry["row"] for entry in slowest]  # the only one that needs SymPy


def test_a_rollout_without_rows_gives_verdicts_without_rows(tmp_path):
    artifact = filtered(rollout_of(tmp_path, 0))
    assert artifact.rows == 0
    assert artifact.statistics["accuracy"] is None
    assert artifact.statistics["slowest"] == []


def test_kill_9_in_the_middle_checks_no_journaled_row_again_and_gives_the_same_bytes(tmp_path, monkeypatch):
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
        journaled = sum(len(record["verdict"]) for record in Journals(slot.work / "verdicts").records())
    assert rows // 3 <= journaled < rows
    checked = []
    really = CheckerPool.check_many
    monkeypatch.setattr(
        CheckerPool,
        "check_many",
        lambda pool, items: really(pool, (checked.append(item) or item for item in items)),
    )
    resumed = filtered(rollout)
    assert len(checked) == rows - journaled
    assert resumed.digest == undisturbed.digest
    for name in ("verdicts", "methods"):
        assert list(resumed.statistics[name].items()) == list(undisturbed.statistics[name].items())


def verdict(seconds: float) -> Verdict:
    return Verdict("correct", "1", "boxed/exact", seconds)


def test_a_record_is_written_after_a_tenth_of_a_second_of_checks():
    sizes = [
        len(record["verdict"])
        for record in verdicts.records(verdict(seconds) for seconds in [0.03] * 10 + [2.0, 0.001, 0.001])
    ]
    assert sizes == [4, 4, 3, 2]


def test_a_record_holds_only_so_many_rows():
    records = list(verdicts.records(verdict(0.0) for _ in range(verdicts.ROWS_PER_RECORD + 1)))
    assert [len(record["seconds"]) for record in records] == [verdicts.ROWS_PER_RECORD, 1]


@pytest.mark.parametrize("size", [1, 3, 50])
def test_the_slowest_rows_are_the_same_however_they_were_journaled(size):
    seconds = [(n * 37 % 101) / 100 for n in range(100)]
    tally = verdicts.Tally()
    for start in range(0, 100, size):
        here = seconds[start : start + size]
        tally.add({"seconds": here, "verdict": ["correct"] * len(here), "method": ["m"] * len(here)})
    assert tally.rows == 100
    expected = sorted(((s, n) for n, s in enumerate(seconds)), reverse=True)[: verdicts.SLOWEST]
    assert tally.slowest == expected
