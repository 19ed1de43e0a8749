"""The configured Oracles, ready to be asked: keys, clients, teachers, budgets."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import mean

from spot_core.config.imported import ImportedOracleConfig
from spot_core.config.oracle import (
    CalculatorOracleConfig,
    HumanOracleConfig,
    ModelOracleConfig,
    OpenAIOracleConfig,
    OracleConfig,
    Price,
    SelfOracleConfig,
    VllmOracleConfig,
    in_order,
    name_of,
)
from spot_core.config.spot import SpotConfig
from spot_core.errors import ConfigError
from spot_core.inference.client import OPENAI_URL, ModelClient, key_of_environment
from spot_core.inference.limits import CircuitBreaker
from spot_core.inference.served import ServedChatModel
from spot_core.models import resolve_model
from spot_core.oracles.base import ChatClient, Oracle
from spot_core.oracles.budget import Budget, Spending
from spot_core.oracles.calculator import CalculatorOracle
from spot_core.oracles.human import Edits, HumanOracle
from spot_core.oracles.imported import ImportedOracle
from spot_core.oracles.model import ModelOracle
from spot_core.oracles.prompting import Prompt
from spot_core.oracles.reading import usage_of
from spot_core.oracles.replies import ReplyJournal
from spot_core.pipeline.oracle_recipe import served_by, serving
from spot_core.store.manifest import canonical_json

log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
"""How long a stage that stops early waits for replies that are paid for."""

Secret = Callable[[str], str]
"""Name of a secret → the secret, or ConfigError."""


def no_secrets(name: str) -> str:
    """Where nobody keeps secrets.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"rectify.oracle.api_key_secret = {name!r}: Secret blocks are read where the stage runs as a Prefect flow; "
        "elsewhere use api_key_env"
    )


def require_usable(config: OracleConfig, *, keys: bool = True) -> None:
    """Fails where a prompt, file or key of an Oracle is missing, before anything is spent on what comes first.

    Args:
        config: the Oracle, or the chain of them.
        keys: whether the Oracle is asked from here, so that its key has to be in this environment.

    Raises:
        ConfigError: a prompt cannot be used, or there is no key.
        InputError: a file of corrections cannot be used.
    """
    for oracle in in_order(config):
        if isinstance(oracle, ModelOracleConfig):
            Prompt.of(oracle)
        if keys and isinstance(oracle, OpenAIOracleConfig) and oracle.api_key_secret is None:
            _key_of_environment(oracle)
        if isinstance(oracle, ImportedOracleConfig):
            ImportedOracle(oracle)


@asynccontextmanager
async def open_oracles(
    config: SpotConfig,
    *,
    model_path: Path,
    replies: ReplyJournal,
    log_folder: Path,
    edits: Edits,
    secret: Secret = no_secrets,
) -> AsyncIterator[list[Oracle]]:
    """The configured Oracles in their order. What they serve or hold open ends with the context.

    Args:
        config: the run's.
        model_path: folder of the policy.
        replies: what was answered before, and what is now.
        log_folder: where the servers of local models write.
        edits: what a person has decided so far.
        secret: finds an API key by the name of its secret.

    Raises:
        ConfigError: the Oracle cannot be asked, e.g. because its key is not in the environment.
    """
    names: Counter[str] = Counter()
    async with AsyncExitStack() as stack:
        oracles: list[Oracle] = []
        for oracle in in_order(config.rectify.oracle):
            names[name := name_of(oracle)] += 1
            if names[name] > 1:
                name += f" ({names[name]})"
            match oracle:
                case CalculatorOracleConfig():
                    oracles.append(CalculatorOracle())
                case HumanOracleConfig():
                    oracles.append(HumanOracle(edits))
                case OpenAIOracleConfig():
                    client = _api_client(oracle, secret)
                    stack.push_async_callback(_close, client, name)
                    asked = _model_oracle(
                        oracle,
                        name=name,
                        model=oracle.model,
                        identity=oracle.base_url or OPENAI_URL,
                        client=client,
                        replies=replies,
                        price=config.rectify.price_of(oracle.model),
                    )
                    stack.push_async_callback(asked.finish, within_seconds=DRAIN_SECONDS)
                    oracles.append(asked)
                case VllmOracleConfig() | SelfOracleConfig():
                    model, engine = served_by(oracle, config)
                    path = resolve_model(model) if isinstance(oracle, VllmOracleConfig) else model_path
                    assert path is not None, "what is downloaded is there"
                    served = ServedChatModel(
                        path,
                        model,
                        engine,
                        log_folder=log_folder / name,
                        timeout_seconds=oracle.timeout_seconds,
                        connections=oracle.concurrency,
                    )
                    stack.push_async_callback(served.close)
                    asked = _model_oracle(
                        oracle,
                        name=name,
                        model=name,
                        identity=canonical_json(serving(path, model, engine)),
                        client=served,
                        replies=replies,
                        price=None,
                    )
                    stack.push_async_callback(asked.finish, within_seconds=DRAIN_SECONDS)
                    oracles.append(asked)
                case _:
                    oracles.append(ImportedOracle(oracle))
        yield oracles


async def _close(client: ModelClient, name: str) -> None:
    """Says what the endpoint was like, and closes the connections."""
    again = ", ".join(f"{count} after {cause}" for cause, count in client.counts.retries.most_common())
    log.info("%s: %d requests%s", name, client.counts.tries, f"; asked again: {again}" if again else "")
    await client.close()


def _key_of_environment(oracle: OpenAIOracleConfig) -> str:
    return key_of_environment(
        oracle.api_key_env,
        setting="rectify.oracle.api_key_env",
        remedy=", or name a Prefect Secret block in api_key_secret",
    )


def _api_client(oracle: OpenAIOracleConfig, secret: Secret) -> ModelClient:
    secret_name = oracle.api_key_secret
    api_key = _key_of_environment(oracle) if secret_name is None else secret(secret_name)
    return ModelClient(
        base_url=oracle.base_url,
        api_key=api_key,
        timeout_seconds=oracle.timeout_seconds,
        max_retries=oracle.max_retries,
        connections=oracle.concurrency,
        requests_per_minute=oracle.requests_per_minute,
        tokens_per_minute=oracle.tokens_per_minute,
        stream=oracle.stream,
        breaker=CircuitBreaker(oracle.outage_after),
    )


def _model_oracle(
    oracle: ModelOracleConfig,
    *,
    name: str,
    model: str,
    identity: str,
    client: ChatClient,
    replies: ReplyJournal,
    price: Price | None,
) -> ModelOracle:
    """With the budget that earlier attempts have left."""
    used = [usage_of(replies.get(request) or {}) or worst for request, worst in replies.own[name]]
    # Of a call that was lost nothing is known: it took about what the others did, or else at most its worst.
    lost = replies.lost[name]
    if used and lost:
        used += [(mean(r for r, _ in used), mean(w for _, w in used))] * len(lost)
    read, written = (sum(counts) for counts in zip(*(used or lost or [(0, 0)]), strict=True))
    spent = Spending(price.of(read, written) if price else 0.0, round(read + written))
    paid = isinstance(oracle, OpenAIOracleConfig)
    budget = Budget(
        limit_usd=oracle.max_cost_usd if paid else None,
        limit_tokens=oracle.max_total_tokens if paid else None,
        spent=spent,
    )
    return ModelOracle(
        oracle,
        name=name,
        model=model,
        identity=identity,
        client=client,
        replies=replies,
        price=price,
        budget=budget,
    )
