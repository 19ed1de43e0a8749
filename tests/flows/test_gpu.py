"""Which stages take turns at the GPU: those that load a model here."""

import pytest

from spot_core.config.spot import STAGES, SpotConfig
from spot_core.pipeline.machine import uses_gpu

ENDPOINT = "http://127.0.0.1:8000/v1"
OPENAI = {"kind": "openai", "model": "teacher"}
VLLM = {"kind": "vllm", "model": {"path": "demo-student"}}
RESPONSES = {"kind": "file", "path": "wrong.jsonl", "columns": {"response": "response"}}


def stages_with(**overrides: object) -> set[str]:
    config = SpotConfig.from_profile("demo", **overrides)
    return {stage for stage in STAGES if uses_gpu(config, stage)}


def test_the_policys_own_stages_use_a_gpu():
    assert stages_with() == {"rollout", "train", "evaluate"}


@pytest.mark.parametrize(
    ("oracle", "uses"),
    [
        ({"kind": "self"}, True),
        (VLLM, True),
        (VLLM | {"engine": {"base_url": ENDPOINT}}, False),
        (OPENAI, False),
        ({"kind": "human"}, False),
        ({"kind": "chain", "oracles": [{"kind": "calculator"}, {"kind": "self"}]}, True),
        ({"kind": "chain", "oracles": [{"kind": "calculator"}, OPENAI]}, False),
    ],
)
def test_rectification_uses_one_if_its_oracle_is_served_here(oracle: dict, uses: bool):
    assert ("rectify" in stages_with(rectify={"oracle": oracle})) is uses


def test_a_policy_that_is_served_elsewhere_leaves_the_gpu_to_training_and_to_measuring_what_was_trained():
    served = {"engine": {"base_url": ENDPOINT}, "rectify": {"oracle": {"kind": "self"}}}
    assert stages_with(**served) == {"train", "evaluate"}


def test_responses_that_exist_are_not_sampled():
    assert "rollout" not in stages_with(questions=RESPONSES)
