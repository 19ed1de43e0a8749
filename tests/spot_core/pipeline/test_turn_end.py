"""An edit ends as the response was sampled to end, whoever made it, where the tokenizer names another end."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from spot_core.config.model import ModelConfig, PromptConfig
from spot_core.errors import InputError, PersonNeededError
from spot_core.inference.prompts import PromptRenderer
from spot_core.pipeline import stages
from spot_core.pipeline.train import write_pairs
from spot_core.runs import Run
from tests.spot_core.pipeline.miniature import run_stages
from tests.twin import NAMED, WRITTEN, write_twin


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_twin(tmp_path_factory.mktemp("twin") / "model")


def check_ends(run: Run) -> list[dict[str, Any]]:
    """Every edit ends in the token that the student writes; returns the accepted pairs."""
    rows = [row for row in stages.rectify_failures(run).rows_as_dicts() if row["rectified_token_ids"]]
    assert {row["rectified_token_ids"][-1] for row in rows} == {WRITTEN}
    assert all(WRITTEN not in row["rectified_token_ids"][:-1] for row in rows)
    accepted = [row for row in rows if row["status"] == "accepted"]
    assert len(accepted) > 3
    return accepted


def as_corrections(accepted: list[dict[str, Any]], path: Path) -> Path:
    lines = [
        {
            "question": row["question"],
            "ground_truth": row["answer"],
            "original_answer": row["response"],
            "gemini_corrected_answer": row["rectified"],
            "finish_reason": "stop",
        }
        for row in accepted
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_every_oracle_edits_with_the_sampled_end(configure, with_oracle, twin, tmp_path):
    model = {"model": {"path": str(twin)}}
    by_calculator = check_ends(run_stages(configure(**model), "calculator"))
    assert all(row["response_token_ids"][-1] == WRITTEN for row in by_calculator)

    config = with_oracle(rectify={"gamma": 0.9})
    check_ends(run_stages(config.model_copy(update={"model": ModelConfig(path=str(twin))}), "served"))

    file = as_corrections(by_calculator, tmp_path / "corrections.jsonl")
    imported = {"rectify": {"oracle": {"kind": "imported", "path": str(file)}}}
    assert len(check_ends(run_stages(configure(**model, **imported), "imported"))) == len(by_calculator)

    columns = {
        "question": "question",
        "answer": "ground_truth",
        "response": "original_answer",
        "finish_reason": "finish_reason",
    }
    responses = {"questions": {"kind": "file", "path": str(file), "columns": columns}}
    rows = check_ends(run_stages(configure(**model, **imported, **responses), "responses-imported-too"))
    assert all(row["response_token_ids"][-1] == WRITTEN for row in rows)


def test_a_person_edits_with_the_sampled_end(configure, twin):
    config = configure(
        model={"path": str(twin)}, rectify={"oracle": {"kind": "human", "wait_days": 3}, "gamma": 0.9}
    )
    with pytest.raises(PersonNeededError):
        run_stages(config, "one")
    run = Run.open(config.store, "one")
    [folder] = (run.store.root / "rectify").glob("*/review")
    edits = []
    for line in (folder / "failures.jsonl").read_text().splitlines():
        row = json.loads(line)
        before, _, _ = row["response"].partition("boxed{")
        edits.append(
            {name: row[name] for name in ("question_id", "sample")}
            | {"rectified": f"{before}boxed{{{row['answer']}}}"}
        )
    (folder / "edits.jsonl").write_text("".join(json.dumps(edit) + "\n" for edit in edits))
    check_ends(run)


def test_a_pair_with_another_end_is_refused_before_any_rank_starts(configure, twin, tmp_path):
    run = run_stages(configure(model={"path": str(twin)}), "one")
    renderer = PromptRenderer(twin, ModelConfig(path=str(twin)), PromptConfig())
    artifact = stages.rectify_failures(run)
    write_pairs(artifact, tmp_path, renderer)

    class Swapped:
        @staticmethod
        def table(columns: list[str]) -> pa.Table:
            rows = artifact.table(columns=columns).to_pylist()
            last = next(row for row in reversed(rows) if row["status"] == "accepted")
            last["rectified_token_ids"][-1] = NAMED
            return pa.Table.from_pylist(rows, schema=artifact.table(columns=columns).schema)

    said = r"question_id \w+, sample 0: the rectified response ends in '<\|unk\|>' where the sampled one ends in '<\|end\|>'"
    with pytest.raises(InputError, match=said):
        write_pairs(Swapped(), tmp_path, renderer)
