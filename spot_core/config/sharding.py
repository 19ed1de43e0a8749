"""Whether the rows of a stage are divided over the workers of an existing engine."""

from typing import Literal

from pydantic import Field, field_validator

from spot_core.config.base import Section


class ShardingConfig(Section):
    """Filter and rectify shard by shard on a Ray cluster, instead of in one process. None of this changes a key, nor
    what a stage makes."""

    engine: Literal["none", "ray"] = "none"
    """none: a stage works on one machine, with all of its cores. ray: each shard is a Prefect task on a Ray cluster."""
    address: str | None = Field(None, examples=["10.0.0.1:6379", "ray://10.0.0.1:10001", "auto"])
    """The cluster: `host:6379` or `auto` from one of its machines, `ray://host:10001` from elsewhere. All of them need
    this environment, and the store's folder under the same path. Unset: a cluster of this machine alone, on loopback,
    which ends with the stage."""
    at_once: int = Field(default=4, ge=1, le=500)
    """Shards at work at once, as far as Ray has the CPUs for them. An Oracle's `concurrency` and limits a minute are
    divided by it, its budget by the number of shards."""
    rows_per_shard: int = Field(default=5_000, ge=1)
    """Rows of a shard at most. There are as many shards as are at work at once, or more, up to 500; beyond that they
    get larger."""
    cpus: int = Field(default=1, ge=1)
    """CPUs that a shard asks Ray for. So many processes check its answers; `filter.workers` is not used."""
    restarts: int = Field(default=3, ge=0, le=100)
    """How often a shard is begun again when its worker dies. What it had done is kept."""

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        host, colon, port = (address or "auto").removeprefix("ray://").rpartition(":")
        if address is not None and address != "auto" and not (host and colon and port.isdecimal()):
            raise ValueError(
                f"address = {address!r}: use host:port of the cluster's head, such as '10.0.0.1:6379', "
                "'ray://10.0.0.1:10001', or 'auto'"
            )
        return address
