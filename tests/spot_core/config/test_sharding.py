"""The address of a cluster is one that can be used."""

import pytest
from pydantic import ValidationError

from spot_core.config.sharding import ShardingConfig


@pytest.mark.parametrize("address", [None, "auto", "10.0.0.1:6379", "ray://head.example:10001"])
def test_addresses_that_ray_knows_are_taken(address):
    assert ShardingConfig(engine="ray", address=address).address == address


@pytest.mark.parametrize("address", ["", "head", "ray://head", "http://head:8265/", ":6379", "head:"])
def test_other_addresses_are_refused_with_examples(address):
    with pytest.raises(ValidationError, match=r"ray://10\.0\.0\.1:10001"):
        ShardingConfig(engine="ray", address=address)
