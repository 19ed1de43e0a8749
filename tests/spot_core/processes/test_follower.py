"""What a process writes to its log is passed on at a bounded rate, in the caller's context, the worst first."""

import contextvars
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from spot_core.processes import follower
from spot_core.processes.follower import MOST_LINES, LogFollower
from tests.e2e.conftest import eventually

CALLER = contextvars.ContextVar("caller", default="nobody")


class Handler(logging.Handler):
    """Keeps what is logged and in whose context."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.callers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.callers.add(CALLER.get())

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def passed_on() -> Iterator[Handler]:
    handler, logger = Handler(), logging.getLogger(follower.__name__)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


def follow(path: Path, offset: int = 0) -> LogFollower:
    return LogFollower(path, offset=offset, name="vLLM")


def test_lines_come_while_the_process_runs_each_once_in_order_and_with_their_level(
    tmp_path, passed_on, monkeypatch
):
    monkeypatch.setattr(follower, "INTERVAL_SECONDS", 0.01)
    path = tmp_path / "log"
    path.write_text("of an earlier attempt\n")
    CALLER.set("this run")
    following = follow(path, offset=path.stat().st_size)
    with path.open("a") as file:
        for number in range(5):
            file.write(f"WARNING {number}\nhalf of line ")
            file.flush()
            eventually(lambda n=number: len(passed_on.lines) > 2 * n, 20, "the line comes")
            file.write(f"{number}\n\n")
            file.flush()
    following.finish()
    expected = [line for n in range(5) for line in (f"vLLM | WARNING {n}", f"vLLM | half of line {n}")]
    assert passed_on.lines == expected
    assert [r.levelno for r in passed_on.records] == 5 * [logging.WARNING, logging.INFO]
    assert passed_on.callers == {"this run"}


def test_of_a_flood_the_worst_and_the_first_lines_are_passed_on_and_the_rest_is_counted(tmp_path, passed_on):
    path = tmp_path / "log"
    lines = [f"line {n}" for n in range(100_000)]
    lines[90_000:90_000] = ["ERROR: it burns", "WARNING: it smokes"]
    path.write_text("\n".join(lines))
    follow(path).finish()
    *shown, left_out = passed_on.lines
    first = [f"vLLM | line {n}" for n in range(MOST_LINES - 2)]
    assert shown == [*first, "vLLM | ERROR: it burns", "vLLM | WARNING: it smokes"]
    assert left_out == f"vLLM | … {len(lines) - MOST_LINES} lines left out; all of them are in {path}"


def test_a_last_line_without_an_end_and_a_line_that_never_ends_are_shown_in_part(tmp_path, passed_on):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 5_000_000 + b"\nno end")
    follow(path).finish()
    long, last = passed_on.lines
    assert long.endswith("x …") and len(long) < 2000
    assert last == "vLLM | no end"


def test_finishing_twice_says_nothing_twice(tmp_path, passed_on):
    path = tmp_path / "log"
    path.write_text("once\n")
    following = follow(path)
    following.finish()
    following.finish()
    assert passed_on.lines == ["vLLM | once"]
