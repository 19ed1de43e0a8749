"""A cheap run: it begins with wrong responses that exist already, so no vLLM is needed, and a teacher corrects them."""

import json
import re
from pathlib import Path
from typing import Any

from spot_core.oracles.prompting import END, START
from tests.e2e.conftest import Pipeline, eventually
from tests.spot_core.inference.fake_openai import FakeOpenAI

KEY = "sk-very-secret-0123456789"
QUESTIONS = [
    (f"Compute {start}+{second}-8.", start + second - 8, start + second - 18)
    for start, second in ((48, 8), (37, 9), (56, 7), (29, 5), (68, 4), (45, 6))
]


def response(answer: int, question: str) -> str:
    """As the demo student writes: its carry forgotten if the answer is ten too small."""
    start, second = map(int, re.match(r"Compute (\d+)\+(\d)", question).groups())
    return f"{start}+{second}={answer + 8}\n{answer + 8}-8={answer}\nAnswer: \\boxed{{{answer}}}"


def wrong_responses(path: Path) -> dict[str, Any]:
    """Writes the responses to a file and returns it as a source of questions."""
    lines = [
        {"question": question, "answer": answer, "response": response(wrong, question)}
        for question, answer, wrong in QUESTIONS
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return {"kind": "file", "path": str(path), "columns": {"response": "response"}, "near_duplicates": 0}


def corrected(body: dict) -> str:
    """The student's solution with its carry put right."""
    prompt = body["messages"][0]["content"]
    question, answer = next((q, a) for q, a, _ in QUESTIONS if q in prompt)
    return f"{START}\n{response(answer, question)}\n{END}"


def paid_oracle(teacher: FakeOpenAI, *, secret: str) -> dict[str, Any]:
    """An Oracle that needs the key in a Secret block."""
    return {
        "kind": "openai",
        "model": "teacher",
        "base_url": teacher.base_url,
        "api_key_secret": secret,
        "attempts": 1,
    }


def store_secret(pipeline: Pipeline, name: str, value: str) -> None:
    """Makes a Secret block as the UI does; a server that has just started comes to know this kind of block in a while."""

    def found(what: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        return eventually(lambda: pipeline.ask(f"{what}/filter", {what: wanted}), 60, f"{what} are there")

    kind = found("block_types", {"slug": {"any_": ["secret"]}})[0]["id"]
    schema = found("block_schemas", {"block_type_id": {"any_": [kind]}})[0]["id"]
    block = {"name": name, "block_type_id": kind, "block_schema_id": schema, "data": {"value": value}}
    pipeline.ask("block_documents/", block)
