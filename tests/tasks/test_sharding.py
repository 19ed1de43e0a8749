"""How many shards there are, and what is said where the engine is missing."""

import importlib.util

import pytest

from spot_core.config.sharding import ShardingConfig
from spot_core.errors import ConfigError
from spot_core.pipeline.shards import MOST_SHARDS
from tasks import sharding
from tasks.sharding import RayMapper, mapper_of


def test_without_an_engine_nothing_is_mapped():
    assert mapper_of(ShardingConfig(), of="answers") is None


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(
        sharding, "find_spec", lambda name: None if name == "prefect_ray" else importlib.util.find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"sharding\.engine = 'ray'.*uv pip install .* prefect-ray"):
        mapper_of(ShardingConfig(engine="ray"), of="answers")


@pytest.mark.parametrize(
    ("rows", "shards"),
    [(1, 1), (3, 3), (100, 4), (4_000, 4), (4_001, 5), (100_000, 100), (10_000_000, MOST_SHARDS)],
)
def test_there_are_as_many_shards_as_are_at_work_at_once_or_more_where_they_would_be_large(rows, shards):
    mapper = RayMapper(ShardingConfig(engine="ray", at_once=4, rows_per_shard=1_000), "answers")
    assert mapper.pieces(rows) == shards
