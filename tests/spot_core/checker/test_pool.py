import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spot_core.checker import CheckerPool, CheckItem, Verdict, check, check_many
from spot_core.checker import pool as pool_module
from spot_core.checker.rules import SlowCase
from spot_core.checker.verdict import Decision
from spot_core.errors import EngineError

SLOW = CheckItem(r"\boxed{\frac{x}{2}}", "x/2")
ENDLESS = CheckItem(r"\boxed{9^{9^{9^{9^{9}}}}+x}", "x")
BACKTRACKING = CheckItem("a" * 50 + "b", "(a|aa)+", "pattern")


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckerPool]:
    with CheckerPool(workers=1, timeout_seconds=1.0) as shared:
        yield shared


def workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if any("spawn_main" in part for part in child.cmdline())]


def die_once(case: SlowCase, timeout_seconds: float) -> Decision:
    """A comparison that takes its process with it, as a crash of an extension module would."""
    os._exit(1)


def test_fast_rows_start_no_worker() -> None:
    before = {worker.pid for worker in workers()}
    with CheckerPool(workers=1) as fresh:
        verdicts = list(fresh.check_many([CheckItem("A: 18", "18"), CheckItem("A: 19", "18")]))
        assert {worker.pid for worker in workers()} == before
    assert [verdict.verdict for verdict in verdicts] == ["correct", "incorrect"]


def test_order_is_kept_with_fast_slow_and_endless_rows(pool: CheckerPool) -> None:
    items = [
        SLOW,
        CheckItem("A: 1", "1"),
        ENDLESS,
        CheckItem("A: 2", "1"),
        SLOW,
        CheckItem("I do not know.", "1"),
    ]
    verdicts = [verdict.verdict for verdict in pool.check_many(items)]
    assert verdicts == ["correct", "correct", "timeout", "incorrect", "correct", "no_answer"]


def test_time_limit_kills_hanging_comparisons_and_the_pool_goes_on(pool: CheckerPool) -> None:
    assert pool.check(SLOW.response, SLOW.gold).verdict == "correct"
    for item in (ENDLESS, BACKTRACKING):
        started = time.perf_counter()
        verdict = pool.check(item.response, item.gold, kind=item.kind)
        assert (verdict.verdict, verdict.method.partition("/")[2]) == ("timeout", "time_limit")
        assert time.perf_counter() - started < 15  # a fresh worker loads SymPy before its limit runs
    assert pool.check(SLOW.response, SLOW.gold).verdict == "correct"


def test_a_verdict_says_how_long_its_check_took(pool: CheckerPool) -> None:
    pool.check(SLOW.response, SLOW.gold)  # starts the worker
    fast, slow, endless = pool.check_many([CheckItem("A: 18", "18"), SLOW, ENDLESS])
    assert 0 < fast.seconds < 0.1
    assert 0 < slow.seconds < 1.0 <= endless.seconds < 1.5
    assert fast == Verdict("correct", "18", fast.method)  # time is no part of what a verdict says


def test_killed_idle_and_busy_workers_are_replaced(pool: CheckerPool) -> None:
    assert pool.check(SLOW.response, SLOW.gold).verdict == "correct"
    for worker in workers():
        worker.kill()
    assert pool.check(SLOW.response, SLOW.gold).verdict == "correct"

    stopper = threading.Timer(0.3, lambda: [worker.kill() for worker in workers()])
    stopper.start()
    assert pool.check(ENDLESS.response, ENDLESS.gold).verdict == "timeout"
    assert pool.check(SLOW.response, SLOW.gold).verdict == "correct"


def test_many_rows_keep_their_order_though_their_workers_are_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "POOL_STUCK_SECONDS", 10.0)
    forms = ("A: {}", r"\boxed{{{}}}", r"\boxed{{\frac{{x}}{{{}}}}}")
    items = [
        CheckItem(forms[n % 10 % 3].format(n + 2), f"x/{n + 2}" if n % 10 % 3 == 2 else str(n + 2))
        for n in range(4_000)
    ]
    with CheckerPool(workers=2) as fresh:
        verdicts = fresh.check_many(items)
        found = []
        for rows in (300, 600, 1_200, None):
            found += itertools.islice(verdicts, rows)
            for worker in multiprocessing.active_children():
                worker.kill()
    assert [v.extracted_answer for v in found] == [
        item.response.removeprefix("A: ")
        .removeprefix(r"\boxed{")
        .removesuffix("}" if "boxed" in item.response else "")
        for item in items
    ]
    assert Counter(v.verdict for v in found)["incorrect"] == 0


def test_a_row_that_kills_its_worker_twice_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with CheckerPool(workers=1) as fresh:
        monkeypatch.setattr(pool_module, "compare", die_once)
        assert fresh.check(SLOW.response, SLOW.gold).method == "boxed/worker_died"
        monkeypatch.undo()
        assert fresh.check(SLOW.response, SLOW.gold).verdict == "correct"


def test_a_fault_in_the_rules_costs_one_row(monkeypatch: pytest.MonkeyPatch, pool: CheckerPool) -> None:
    really = pool_module.decide
    monkeypatch.setattr(pool_module, "decide", lambda item: 1 / 0 if item.gold == "0" else really(item))
    verdicts = list(pool.check_many([CheckItem("A: 1", "1"), CheckItem("A: 1", "0"), CheckItem("A: 1", "1")]))
    assert [v.verdict for v in verdicts] == ["correct", "ambiguous", "correct"]
    assert verdicts[1].method == "rule_error:ZeroDivisionError"


def test_workers_that_cannot_start_fail_the_batch_instead_of_every_row() -> None:
    with (
        CheckerPool(workers=1, memory_bytes=60 * 1024**2) as starved,
        pytest.raises(EngineError, match=r"filter\.memory_gb"),
    ):
        starved.check(SLOW.response, SLOW.gold)


def test_endless_inputs_are_read_ahead_only_so_far() -> None:
    read = itertools.count()
    items = (SLOW if next(read) == 0 else CheckItem("A: 1", "1") for _ in itertools.count())
    verdicts = check_many(items, workers=1)
    assert next(verdicts).verdict == "correct"
    assert next(read) <= pool_module.LOOK_AHEAD_ROWS + 2
    verdicts.close()


def test_one_pool_serves_many_threads(pool: CheckerPool) -> None:
    verdicts: list[str] = []
    threads = [
        threading.Thread(target=lambda: verdicts.append(pool.check(SLOW.response, SLOW.gold).verdict))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == ["correct"] * 4


SCRIPT = r"""
from spot_core.checker import check
print(check(r"\boxed{\frac{x}{2}}", "x/2").verdict)
"""


def test_scripts_need_no_main_guard(tmp_path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT)
    for command in ([sys.executable, str(script)], [sys.executable, "-c", SCRIPT]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (0, "correct\n"), done.stderr


def test_workers_end_when_their_parent_is_killed() -> None:
    code = (
        "from spot_core.checker import CheckerPool, CheckItem\n"
        "pool = CheckerPool(workers=2, timeout_seconds=1.0)\n"
        "print(pool.check(r'\\boxed{x+x}', '2x').verdict, flush=True)\n"
        "pool.check(r'\\boxed{9^{9^{9^{9^{9}}}}+x}', 'x')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "correct\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=15)
    assert alive == []


@pytest.mark.parametrize(
    ("response", "gold", "kind", "verdict"),
    [
        (" yes\n", "yes", "exact", "correct"),
        ("Yes.", "yes", "exact", "incorrect"),
        ("", "yes", "exact", "no_answer"),
        ("<think>no</think>yes", "yes", "exact", "correct"),
        ("olleh\nx", r"olleh.x", "pattern", "correct"),
        ("hello there", r"hello", "pattern", "incorrect"),
        ("abab", r"(ab)+", "pattern", "correct"),
        ("abab", r"(ab", "pattern", "ambiguous"),
    ],
)
def test_exact_and_pattern_look_at_the_whole_response(
    response: str, gold: str, kind: str, verdict: str
) -> None:
    assert check(response, gold, kind=kind).verdict == verdict


@pytest.mark.parametrize("kind", ["math", "exact", "pattern"])
def test_a_response_cut_at_the_token_limit_is_truncated(kind: str) -> None:
    assert check(r"\boxed{5}", "5", kind=kind, finish_reason="length").verdict == "truncated"
    assert check("5", "5", kind=kind, finish_reason="stop").verdict == "correct"


def test_an_unannounced_conclusion_is_never_incorrect() -> None:
    assert check("We find that there are $5$.", "5").verdict == "correct"
    assert check("We find that there are $5$.", "6").verdict == "ambiguous"


def test_several_boxes_confirm_a_list_but_never_refute_it() -> None:
    assert check(r"$\boxed{-2}$ and $\boxed{1}$", "1, -2").verdict == "correct"
    assert check(r"$\boxed{-2}$ and $\boxed{1}$", "1, -3").verdict == "ambiguous"


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text(), st.sampled_from(["", r"\boxed{", "A: ", "$", "Answer: "]))
def test_arbitrary_text_never_raises(pool: CheckerPool, response: str, gold: str, form: str) -> None:
    closing = "}" if form.endswith("{") else ""
    pool.check(form + response + closing, gold)
