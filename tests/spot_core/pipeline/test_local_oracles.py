"""Oracles that the stage serves itself: the policy, and a teacher, on a real vLLM server each."""

import json

import psutil
import pytest

from spot_core.config.spot import SpotConfig
from spot_core.pipeline import stages
from spot_core.runs import Run
from spot_core.store.journal import read_journal

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ROWS = 6
SAMPLES = 3
# So small a model writes the markers only because the server lets it write nothing else.
REPLY = r"<<<RECTIFIED>>>\n([0-9]{1,3}[+-][0-9]=[0-9]{1,3}\n){2}Answer: \\boxed\{[0-9]{1,3}\}\n<<<END OF RECTIFIED>>>"


def test_policy_and_teacher_edit_failures_and_leave_no_process(tmp_path):
    with (tmp_path / "responses.jsonl").open("w") as file:
        for n in range(ROWS):
            start, right = 41 + 7 * n, 41 + 7 * n + 9
            response = f"{start}+9={right - 10}\n{right - 10}-4={right - 14}\nAnswer: \\boxed{{{right - 14}}}"
            row = {"question": f"Compute {start}+9-4.", "answer": str(right - 4), "response": response}
            file.write(json.dumps(row) + "\n")
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("$answer|$start|$end|$response|$question")
    again = tmp_path / "again.txt"
    again.write_text("|$reasons")
    asked = {
        "prompt_file": str(prompt),
        "again_file": str(again),
        "temperature": 0.7,
        "samples": SAMPLES,
        "attempts": 1,
        "extra_body": {"structured_outputs": {"regex": REPLY}},
    }
    teacher = {"model": {"path": "demo-student"}, "engine": {"dtype": "float32", "max_model_len": 256}}
    chain = [{"kind": "self", **asked}, {"kind": "vllm", **teacher, **asked, "attempts": 2}]
    config = SpotConfig.from_profile(
        "demo",
        store=str(tmp_path / "store"),
        questions={
            "kind": "file",
            "path": str(tmp_path / "responses.jsonl"),
            "columns": {"response": "response"},
            "near_duplicates": 0,
        },
        rectify={"oracle": {"kind": "chain", "oracles": chain}},
        evaluate={"datasets": []},
    )
    run = Run.create(config, "one")
    stages.prepare(run)
    stages.check_answers(run)
    rows = list(stages.rectify_failures(run).rows_as_dicts())

    assert len(rows) == ROWS
    for row in rows:
        by_policy = [entry for entry in row["history"] if entry["oracle"] == "self"]
        assert len(by_policy) == SAMPLES
        assert all(entry["output_tokens"] > 20 for entry in by_policy)
        assert {entry["status"] for entry in by_policy} <= {"accepted", "wrong_answer", "too_different"}
        assert (
            row["status"] == "accepted" or row["oracle"] == "demo-student"
        )  # the teacher has what the policy left
    logs = sorted(path.parent.name for path in (tmp_path / "store").glob("rectify/*/logs/*/vllm-000.log"))
    assert logs == sorted({entry["oracle"] for row in rows for entry in row["history"]})
    replies = [r for path in (tmp_path / "store" / "replies").iterdir() for r in read_journal(path)]
    assert sum("reply" in record for record in replies) == sum(len(row["history"]) for row in rows)
    assert not [p for p in psutil.Process().children(recursive=True) if "vllm" in " ".join(p.cmdline())]
