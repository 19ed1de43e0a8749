"""The deployments of one work pool and those of three are the same, but for the pools."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.local import POOL, POOLS
from spot_core.config.spot import STAGES, SpotConfig

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = {"one": REPOSITORY / "prefect.yaml", "three": REPOSITORY / "deployments" / "pools" / "prefect.yaml"}


def deployments(which: str) -> list[dict[str, Any]]:
    return yaml.safe_load(FILES[which].read_text(encoding="utf-8"))["deployments"]


def test_both_files_deploy_the_same_flows_with_the_same_parameters():
    one, three = ([d | {"work_pool": None} for d in deployments(which)] for which in FILES)
    assert one == three
    assert {d["entrypoint"].split(":")[1] for d in one} >= {"spot", *STAGES}


@pytest.mark.parametrize(("which", "pools"), [("one", {POOL}), ("three", set(POOLS))])
def test_every_pool_is_one_that_spot_up_makes(which: str, pools: set[str]):
    assert {d["work_pool"]["name"] for d in deployments(which)} == pools


def test_no_gpu_is_held_while_an_oracle_is_asked_or_answers_are_checked():
    pool = {d["entrypoint"].split(":")[1]: d["work_pool"]["name"] for d in deployments("three")}
    assert {stage for stage in STAGES if pool[stage] == "gpu"} == {"rollout", "train", "evaluate"}
    assert pool["rectify"] == "api"
    assert pool["spot"] == pool["filter"] == "cpu"


def test_where_stages_run_is_left_to_the_pools_unless_a_run_says_otherwise():
    assert SpotConfig.from_profile("demo").dispatch.stages == "auto"
