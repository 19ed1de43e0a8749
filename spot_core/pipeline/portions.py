"""How shards that are at work at once keep to an Oracle's limits together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from spot_core.config.oracle import OpenAIOracleConfig, SingleOracleConfig
from spot_core.oracles.budget import Spending


@dataclass(frozen=True)
class Portion:
    """What of the Oracles' limits is for one shard, so that all together keep them.

    Attributes:
        at_once: shards at work at once: they share connections, requests and tokens a minute.
        shards: how many there are: each has its part of what the budget had left before them.
        spent: by Oracle, before the shards began.
    """

    at_once: int
    shards: int
    spent: Mapping[str, Spending]

    def of_rates(self, oracle: OpenAIOracleConfig) -> OpenAIOracleConfig:
        """The same Oracle with this shard's part of what it may do at once and in a minute."""
        rates = {name: getattr(oracle, name) for name in ("requests_per_minute", "tokens_per_minute")}
        parts: dict[str, float | int] = {
            n: rate / self.at_once for n, rate in rates.items() if rate is not None
        }
        return oracle.model_copy(update=parts | {"concurrency": connections(oracle, self.at_once)})

    def taken(self, oracle: OpenAIOracleConfig, name: str) -> Spending:
        """What is not for this shard: spent before, or left to the others."""
        before, others = self.spent[name], 1 - 1 / self.shards
        usd = max(0.0, (oracle.max_cost_usd or 0.0) - before.usd) * others
        tokens = max(0, (oracle.max_total_tokens or 0) - before.tokens) * others
        return before + Spending(usd, math.ceil(tokens))


def connections(oracle: SingleOracleConfig, at_once: int = 1) -> int:
    """Failures that an Oracle may work on at once, for one of so many shards."""
    return max(1, getattr(oracle, "concurrency", 1) // at_once)
