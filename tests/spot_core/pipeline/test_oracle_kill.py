"""Hundreds of failures against an endpoint that fails one call in five, through three kill -9 of the stage."""

import json
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from spot_core.config.spot import SpotConfig
from spot_core.oracles.prompting import END, START
from spot_core.pipeline import stages
from spot_core.runs import Run
from spot_core.store import schemas
from spot_core.store.journal import read_journal
from tests.spot_core.inference.misbehaviour import BAD_ANSWERS, FAULTS

REPOSITORY = Path(__file__).resolve().parents[3]
CONCURRENCY = 32
KILLS = (0.2, 0.45, 0.7)  # of the rows done
TIMEOUT = 8.0  # seconds; a busy machine shall not time out what is answered
MIX = ["429", "500", "hang", "cut", "dropped", "trickle", "half JSON", "a page", "no choices", "huge",
       "empty choices", "refusal", "twice", "second half", "wrong answer"]  # fmt: skip
STATUSES = {"accepted", "wrong_answer", "unparseable", "refused"}


def corrected(body: dict) -> str:
    """What a good Oracle says: the solution with the reference answer in its box and in its last step."""
    prompt = body["messages"][0]["content"]
    answer = re.search(r"Reference answer:\n(.*)", prompt).group(1)
    solution = re.search(r"The student's solution:\n(.*?)\n\nGive", prompt, re.DOTALL).group(1)
    wrong = re.search(r"boxed{(.*?)}", solution).group(1)
    right = solution.replace(f"={wrong}", f"={answer}").replace(f"{{{wrong}}}", f"{{{answer}}}")
    return f"{START}\n{right}\n{END}"


@pytest.fixture
def endpoint(tmp_path):
    """The endpoint as a program of its own; its address and its log."""
    log = tmp_path / "endpoint.jsonl"
    command = [sys.executable, "-m", "tests.spot_core.inference.fake_openai", "--log", str(log)]
    command += ["--chat", f"{__name__}:corrected", "--seconds", "0.2", "--share", "0.2", "--faults", *MIX]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        address = next(line.strip() for line in server.stdout if line.startswith("http"))
        yield address, log
        server.kill()


def write_responses(path: Path, rows: int) -> None:
    """Solutions of sums, all with a slip in their last step."""
    rng = Random(0)
    numbers = rng.sample([(a, b) for a in range(10, 99) for b in range(2, 9)] * 4, rows)
    with path.open("w") as file:
        for index, (a, b) in enumerate(numbers):
            question = f"Compute {a}+{b} for {index}."
            response = f"{a}+{b}={a + b + 10}\nAnswer: \\boxed{{{a + b + 10}}}"
            file.write(json.dumps({"question": question, "answer": str(a + b), "response": response}) + "\n")


def start_stage(config: SpotConfig) -> subprocess.Popen:
    code = "import sys; from spot_core.pipeline import stages; from spot_core.runs import Run; "
    code += "stages.rectify_failures(Run.open(sys.argv[1], 'one'))"
    return subprocess.Popen([sys.executable, "-c", code, config.store], cwd=REPOSITORY)


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.timeout(400)
@pytest.mark.parametrize("count", [600, pytest.param(2_000, marks=pytest.mark.slow)])
def test_no_row_is_lost_or_doubled_and_no_answer_is_asked_for_twice(endpoint, tmp_path, monkeypatch, count):
    address, log = endpoint
    monkeypatch.setenv("ORACLE_KEY", "a-key")
    write_responses(tmp_path / "responses.jsonl", count)
    config = SpotConfig.from_profile(
        "demo",
        store=str(tmp_path / "store"),
        questions={
            "kind": "file",
            "path": str(tmp_path / "responses.jsonl"),
            "columns": {"response": "response"},
            "near_duplicates": 0,
        },
        rectify={
            "oracle": {
                "kind": "openai",
                "model": "teacher",
                "base_url": address,
                "api_key_env": "ORACLE_KEY",
                "attempts": 3,
                "temperature": 0.5,
                "concurrency": CONCURRENCY,
                "timeout_seconds": TIMEOUT,
                "max_retries": 8,
            }
        },
        evaluate={"datasets": []},
    )
    run = Run.create(config, "one")
    stages.prepare(run)
    stages.check_answers(run)

    kills = []
    for share in KILLS:
        stage = start_stage(config)
        while sum(map(lines_of, (tmp_path / "store").glob("rectify/*/0/.work/rows.jsonl"))) < share * count:
            assert stage.poll() is None, "the stage ended before it was killed"
            time.sleep(0.05)
        stage.send_signal(signal.SIGKILL)
        kills.append(time.time())
        stage.wait()
    assert start_stage(config).wait() == 0

    artifact = stages.rectify_failures(run)
    rows = artifact.table(columns=["question_id", "sample", "status"]).to_pylist()
    assert len({(row["question_id"], row["sample"]) for row in rows}) == len(rows) == count
    assert {row["status"] for row in rows} <= STATUSES
    assert sum(row["status"] == "accepted" for row in rows) > 0.95 * count
    assert artifact.table().schema == schemas.RECTIFY

    calls = defaultdict(list)
    for line in log.read_text().splitlines():
        request = json.loads(line)
        calls[request["key"]].append(request)
    faults = {request["fault"] for tries in calls.values() for request in tries}
    assert faults == {None, *MIX}
    repeated = [
        (earlier["came"], later["came"])
        for tries in calls.values()
        for earlier, later in pairwise(sorted(tries, key=lambda request: request["came"]))
        if earlier["fault"] not in FAULTS  # after those, the client itself tries again
    ]
    lost = [times for times in repeated if any(times[0] < kill < times[1] for kill in kills)]
    print(f"{sum(map(len, calls.values())):,} requests for {len(calls):,} calls, {len(lost)} of them lost")
    assert len(lost) <= artifact.statistics["calls_repeated"] <= len(KILLS) * CONCURRENCY
    assert all(later - earlier >= TIMEOUT for earlier, later in set(repeated) - set(lost)), "and given up"

    kept = set()
    for path in sorted((tmp_path / "store" / "replies").glob("*.jsonl")):  # a process each, in their order
        records = list(read_journal(path))
        assert not kept & {record.get("asked") for record in records}, "an answer that was kept is asked for"
        kept |= {record["request"] for record in records if "request" in record}
    assert kept <= set(calls)
    assert len(kept) >= count


def test_the_mix_has_every_kind_of_trouble():
    assert set(MIX) <= {*FAULTS, *BAD_ANSWERS}
