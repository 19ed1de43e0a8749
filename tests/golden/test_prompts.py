"""What models are asked: another prompt would give other responses and pay for other edits."""

from pathlib import Path
from typing import Any, cast

import pytest

from spot_core.config.oracle import OpenAIOracleConfig
from spot_core.config.profiles import profile_names
from spot_core.config.spot import SpotConfig
from spot_core.demo import STUDENT_PATH
from spot_core.inference.prompts import PromptRenderer
from spot_core.oracles.base import Failure
from spot_core.oracles.model import ModelOracle
from tests.golden.golden import compare

FAILURE = Failure(
    question_id="q1",
    sample=2,
    question="What is $17 + 25$?",
    answer="42",
    response="17 + 25 = \\boxed{32}.",
    prompt_token_ids=[1, 2],
    response_token_ids=[3, 4],
    finish_reason="stop",
)
EARLIER = ("the answer is still 32", "too much is changed")


def test_policies_are_asked_as_before() -> None:
    config = SpotConfig.from_profile("demo")
    renderer = PromptRenderer(STUDENT_PATH, config.model, config.prompt)
    asked = {"text": renderer.text("Compute 17+5."), "ids": renderer.token_ids("Compute 17+5.")}
    messages = {
        name: SpotConfig.from_profile(name).prompt.messages("What is 17 + 5?") for name in profile_names()
    }
    compare("policy_prompts", {"demo": asked, "messages": messages})


@pytest.mark.parametrize("gold", [True, False])
def test_oracles_are_asked_as_before_and_replies_are_found_again(gold: bool, tmp_path: Path) -> None:
    oracle = ModelOracle(
        OpenAIOracleConfig(
            model="teacher", base_url="http://127.0.0.1:1/v1", api_key_env="KEY", with_gold_answer=gold
        ),
        name="teacher",
        model="teacher",
        identity="http://127.0.0.1:1/v1",
        client=cast("Any", None),
        replies=cast("Any", None),
    )
    first, again = oracle.request(FAILURE), oracle.request(FAILURE, earlier=EARLIER)
    asked = {
        "first": first,
        "again": again,
        "hashes": [oracle.hash(first), oracle.hash(first, sample=3), oracle.hash(again, attempt=2)],
    }
    compare(f"oracle_prompts_{'with' if gold else 'without'}_answer", asked)
