import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from spot_core.checker import CheckerPool, CheckItem
from spot_core.checker.scorers import ForbiddenEffect, no_effects


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckerPool]:
    with CheckerPool(workers=1, timeout_seconds=5.0) as shared:
        yield shared


def verdict(pool: CheckerPool, response: str, gold: str, kind: str, **more) -> tuple[str, str]:
    found = next(pool.check_many([CheckItem(response, gold, kind, **more)]))
    return found.verdict, found.method.partition("/")[2]


@pytest.mark.parametrize(
    ("response", "gold", "expected"),
    [
        (r"So \boxed{B}.", "B", "correct"),
        (r"\boxed{\textbf{(B)}\ 12}", "(B)", "correct"),
        ("The correct option is (c).", "C", "correct"),
        ("Answer: D) 7 meters", "D", "correct"),
        ("B", "B", "correct"),
        ("(b)", "B", "correct"),
        (r"\boxed{A, C}", "AC", "correct"),
        (r"\boxed{C and A}", "A,C", "correct"),
        (r"\boxed{A}", "A,C", "incorrect"),
        ("<answer>E</answer>", "D", "incorrect"),
        (r"\boxed{12}", "B", "ambiguous"),
        ("I like the second one.", "B", "no_answer"),
        (r"\boxed{A}", "12", "ambiguous"),
    ],
)
def test_multiple_choice_compares_letters(pool, response: str, gold: str, expected: str) -> None:
    assert verdict(pool, response, gold, "multiple_choice")[0] == expected


@pytest.mark.parametrize(
    ("answer", "gold", "tolerance", "expected"),
    [
        ("101", "100", 0.01, "correct"),
        ("101.1", "100", 0.01, "incorrect"),
        ("-101", "100", 0.01, "incorrect"),
        (r"\sqrt{2}", "1.414", 0.001, "correct"),
        (r"x = \frac{\pi}{2}", "1.5708", 0.001, "correct"),
        (r"6.6\times10^{-34}", "6.626e-34", 0.01, "correct"),
        ("2e-34", "6.626e-34", 0.01, "incorrect"),
        ("1.5 km", "1490 m", 0.01, "correct"),
        ("28%", "0.28", 0.0, "correct"),
        ("0", "0", 0.01, "correct"),
        ("0.5", "50%", 0.0, "correct"),
        ("5000", "50%", 0.01, "incorrect"),
        ("5 kg", "5 m", 0.01, "ambiguous"),
        ("x + 1", "3", 0.01, "ambiguous"),
        ("nothing", "3", 0.01, "incorrect"),
        ("3", "many", 0.01, "ambiguous"),
    ],
)
def test_numbers_are_compared_within_a_relative_tolerance(pool, answer, gold, tolerance, expected) -> None:
    response = rf"Therefore \boxed{{{answer}}}"
    assert verdict(pool, response, gold, "numeric", tolerance=tolerance)[0] == expected


def test_words_of_other_languages_can_announce_the_answer(pool) -> None:
    item = CheckItem("Also gilt:\nLösung: 12", "12", prefixes=("Lösung:",))
    assert next(pool.check_many([item])).verdict == "correct"
    assert pool.check("Also gilt:\nLösung: 12 ist es", "12").verdict == "no_answer"


def test_reasoning_gym_is_scored_by_its_own_scorer(pool) -> None:
    pytest.importorskip("reasoning_gym")
    entry = {"source_dataset": "countdown", "numbers": [6, 61, 94, 4], "target": 309}
    for metadata in (json.dumps(entry), json.dumps({"question": "?", "metadata": entry})):
        right = verdict(
            pool, "<answer>94*4 - 6 - 61</answer>", "94*4 - 61 - 6", "reasoning_gym", metadata=metadata
        )
        assert right == ("correct", "countdown")
        wrong = verdict(pool, "<answer>309</answer>", "94*4 - 61 - 6", "reasoning_gym", metadata=metadata)
        assert wrong == ("incorrect", "countdown")
    assert verdict(pool, "A: 1", "1", "reasoning_gym")[0] == "ambiguous"


def test_scorers_that_evaluate_text_have_no_effect(pool, tmp_path: Path) -> None:
    pytest.importorskip("reasoning_gym")
    metadata = json.dumps({"source_dataset": "countdown", "numbers": [1], "target": 1})
    for attack in (
        f"__import__('os').system('touch {tmp_path}/a')",
        f"open('{tmp_path}/b', 'w')",
        f"ｏｐｅｎ('{tmp_path}/d', 'w')",
        f"(open)('{tmp_path}/e', 'w')",
        f"[c for c in ().__class__.__base__.__subclasses__()] and open('{tmp_path}/c','w')",
    ):
        found = verdict(pool, f"<answer>{attack}</answer>", "1", "reasoning_gym", metadata=metadata)
        assert found == ("ambiguous", "unsafe_text")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_would_end_the_process_costs_one_row(pool) -> None:
    pytest.importorskip("reasoning_gym")
    metadata = json.dumps({"source_dataset": "binary_matrix"})
    items = [
        CheckItem(f"<answer>{answer}</answer>", "0 0", "reasoning_gym", metadata=metadata)
        for answer in ("exit()", "0 0", "apple, open")
    ]
    assert [v.verdict for v in pool.check_many(items)] == ["ambiguous", "correct", "incorrect"]


def test_sandbox_refuses_effects_and_ends(tmp_path: Path) -> None:
    import os
    import subprocess

    keep = tmp_path / "keep"
    keep.write_text("x")
    with no_effects():
        for effect in (
            lambda: (tmp_path / "a").write_text("x"),
            lambda: os.open(tmp_path / "b", os.O_CREAT | os.O_WRONLY),
            lambda: os.open(keep, os.O_RDONLY | os.O_TRUNC),
            lambda: subprocess.run(["true"], check=False),
            lambda: os.system("true"),  # noqa: S605 - what the sandbox must refuse
            keep.unlink,
        ):
            with pytest.raises(ForbiddenEffect):
                effect()
        assert keep.read_text() == "x"
    keep.write_text("y")
    assert [path.name for path in tmp_path.iterdir()] == ["keep"]


PLUGIN = """
def same_length(response, gold, metadata):
    if metadata.get("raise"):
        raise KeyError("broken")
    return None if metadata.get("unsure") else len(response) == len(gold)
"""


def test_installed_packages_can_add_checkers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "lengths-1.0.dist-info"
    info.mkdir()
    (tmp_path / "lengths.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lengths\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[spot.checkers]\nlength = lengths:same_length\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with CheckerPool(workers=1, timeout_seconds=5.0) as pool:
        assert verdict(pool, "abc", "xyz", "length") == ("correct", "length")
        assert verdict(pool, "abc", "wxyz", "length") == ("incorrect", "length")
        assert verdict(pool, "abc", "xyz", "length", metadata='{"unsure": 1}')[0] == "ambiguous"
        assert verdict(pool, "abc", "xyz", "length", metadata='{"raise": 1}')[1] == "plugin_error:KeyError"
