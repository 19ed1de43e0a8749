"""The paper's Qwen3 recipe in small on a CPU: real tokenizer, prompts and responses; random weights, a local Oracle."""

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from spot_core.config.engine import EngineConfig, SamplingConfig
from spot_core.config.model import ModelConfig, PromptConfig
from spot_core.errors import EngineError
from spot_core.inference import server
from spot_core.inference.policy import Policy, Request, request_seed
from spot_core.inference.prompts import PromptRenderer
from spot_core.oracles.prompting import END, START
from tests.e2e.wrong_responses import KEY, store_secret

SHARED = os.environ.get("SPOT_SHARED_DATA", "")
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        not SHARED or not Path(SHARED, "minerva_100.jsonl").is_file(),
        reason="SPOT_SHARED_DATA does not name the folder with the shared data files",
    ),
]
IN_FLIGHT = 32
_ANSWER = re.compile(r"Reference answer:\n(.*?)\n\n", re.DOTALL)
_SOLUTION = re.compile(r"The student's solution:\n(.*?)\n\nGive", re.DOTALL)


def corrected(body: dict) -> str:
    """The response with the reference answer in its box, as an Oracle would return it."""
    prompt = body["messages"][0]["content"]
    answer, solution = _ANSWER.search(prompt).group(1), _SOLUTION.search(prompt).group(1)
    before, box, _ = solution.rpartition("\\boxed{")
    return f"{START}\n{before}{box}{answer}}}$.\n{END}"


def requests(model: Path, *files: str, samples: int) -> list[Request]:
    renderer = PromptRenderer(
        model, ModelConfig(path=str(model), chat_template_kwargs={"enable_thinking": False}), PromptConfig()
    )
    rows = [json.loads(line) for name in files for line in Path(SHARED, name).read_text().splitlines()]
    return [
        Request(row["id"], sample, renderer.token_ids(row["question"]), request_seed(0, row["id"], sample))
        for row in rows
        for sample in range(samples)
    ]


ENGINE = EngineConfig(
    dtype="bfloat16",
    max_model_len=512,
    concurrency=IN_FLIGHT,
    # So few that of 32 prompts some are cut into pieces, if that is allowed.
    extra_args=("--max-num-batched-tokens=512", "--enable-chunked-prefill"),
)


def test_prompts_of_real_length_are_answered_with_their_seeds(qwen3_model, tmp_path):
    asked = requests(qwen3_model, "amc23.jsonl", samples=2)
    answered: Counter[str] = Counter()
    with Policy(qwen3_model, ENGINE, log_folder=tmp_path) as policy:
        policy.answer(asked, SamplingConfig(max_new_tokens=8), lambda r, a: answered.update([r.question_id]))
        assert policy.starts == 1
    assert set(answered.values()) == {2} and len(answered) == 40


@pytest.mark.slow
def test_a_crash_of_the_engine_names_its_cause(qwen3_model, tmp_path, monkeypatch):
    command = server.server_command
    monkeypatch.setattr(
        server, "server_command", lambda *about: command(*about)[:-1]
    )  # prompts in pieces again
    with (
        pytest.raises(
            EngineError, match=r"It says: RuntimeError: CPU Generator does not use offset"
        ) as raised,
        Policy(qwen3_model, ENGINE, log_folder=tmp_path) as policy,
    ):
        policy.answer(
            requests(qwen3_model, "amc23.jsonl", samples=2), SamplingConfig(max_new_tokens=8), lambda *_: None
        )
    assert "leaked" not in str(raised.value)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("attempt", range(3))
def test_the_recipe_completes(pipeline, teacher, qwen3_model, tmp_path, attempt):
    teacher.chat = corrected
    store_secret(pipeline, f"teacher-{attempt}", KEY)

    def questions(name: str, **columns: str) -> dict:
        return {"kind": "file", "path": str(Path(SHARED, name)), "columns": columns}

    oracle = {
        "kind": "openai",
        "model": "teacher",
        "base_url": teacher.base_url,
        "api_key_secret": f"teacher-{attempt}",
    }
    sets = [{"name": name, "questions": questions(f"{name}.jsonl")} for name in ("amc23", "minerva_100")]
    recipe = {
        "extends": "qwen3-8b",
        "model": {"path": str(qwen3_model)},
        "questions": questions("math_model_solutions.jsonl", response="response"),
        # float32 and few tokens: what takes its time on a CPU are logits of a whole vocabulary, in bf16 most.
        "engine": {
            "dtype": "float32",
            "max_model_len": 4096,
            "concurrency": IN_FLIGHT,
            "cpu_kvcache_gib": 2,
        },
        "rollout": {"max_new_tokens": 2048},
        "filter": {"keep": "all", "max_failures": 16},
        "rectify": {
            "oracle": oracle | {"extra_body": {}},
            "prices": {"teacher": {"input": 0.0, "output": 0.0}},
        },
        "train": {
            "context_length": 4096,
            "batch_size": 8,
            "epochs": 1,
            "checkpoint_every_steps": 1,
            "precision": "fp32",
        },
        "evaluate": {"max_new_tokens": 16, "samples": 2, "datasets": sets},
    }
    profile = tmp_path / "qwen3-small.yaml"
    profile.write_text(yaml.safe_dump(recipe))
    here = pipeline.at(tmp_path / "store")
    name = f"real-prompts-{attempt}"
    settings = ["--profile", str(profile), "--run-name", name, "--set", f"store={here.store}"]
    ran = here.command("spot", "run", *settings, timeout=1700)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    summary = here.summary(name)
    assert summary["pairs"] >= 10
    assert {"before/amc23", "after/amc23", "before/minerva_100", "after/minerva_100"} <= {
        stage.removeprefix("evaluate/") for stage in summary["stages"]
    }
    rows = {stage: made["rows"] for stage, made in summary["stages"].items()}
    assert rows["evaluate/after/minerva_100"] == 2 * 100 and rows["evaluate/after/amc23"] == 2 * 40
