"""Shards of a stage as Prefect tasks on a Ray cluster: each is seen in the UI, and begun again when its worker dies."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from spot_core.config.sharding import ShardingConfig
from spot_core.errors import ConfigError, EngineError
from spot_core.pipeline.shards import MOST_SHARDS, Mapper, Seen, Shard, Tail, Work

if TYPE_CHECKING:
    from prefect_ray import RayTaskRunner
    from prefect_ray.task_runners import PrefectRayFuture

_LOOK_SECONDS = 1.0
_STOP_SECONDS = 20.0
"""How long shards that are cancelled may take: they wait for replies that are paid for."""
LOOPBACK = "127.0.0.1"
_KEEP_TO_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""With 0, Ray listens on loopback alone, on every system; else it takes loopback for the machine's address."""
_OBJECT_STORE_BYTES = 80 * 1024**2
"""Nothing is sent through Ray but row numbers; its own default is a third of the memory."""


def mapper_of(config: ShardingConfig, *, of: str) -> Mapper | None:
    """What maps the shards of a stage; None where the stage works on one machine. `of` says what the rows are.

    Raises:
        ConfigError: a package is missing.
    """
    if config.engine == "none":
        return None
    require_engine(config)
    return RayMapper(config, of)


def require_engine(config: ShardingConfig) -> None:
    """Fails where the configured engine is not installed.

    Raises:
        ConfigError: it is not.
    """
    if config.engine == "ray" and find_spec("prefect_ray") is None:
        raise ConfigError(
            "sharding.engine = 'ray' needs the package prefect-ray, here and on every machine of the cluster: "
            ".venv/bin/uv pip install --python .venv/bin/python prefect-ray"
        )


@task(name="shard", task_run_name="{name}", persist_result=False, cache_policy=NO_CACHE)
def work_on(name: str, job: Callable[[], None]) -> None:
    """Works on one shard, on whichever machine Ray has chosen."""
    job()


@dataclass(frozen=True)
class RayMapper:
    """Has shards worked on by the cluster of `config`; see `spot_core.pipeline.shards.Mapper`."""

    config: ShardingConfig
    of: str

    @property
    def at_once(self) -> int:
        """How many shards are at work at once."""
        return self.config.at_once

    @property
    def checking_processes(self) -> int:
        """How many processes a shard may start to check answers."""
        return self.config.cpus

    def pieces(self, rows: int) -> int:
        """How many shards to make of so many rows."""
        wanted = max(self.config.at_once, -(-rows // self.config.rows_per_shard))
        return max(1, min(wanted, rows, MOST_SHARDS))

    def run(self, work: Work, shards: Sequence[Shard], seen: Seen, *, at_once: int | None = None) -> None:
        """Returns when all shards are done.

        Raises:
            ConfigError: there is no cluster at the address.
            EngineError: the worker of a shard died again and again.
        """
        from prefect_ray.context import remote_options  # noqa: PLC0415 - an extra; Ray takes a second to import

        log = get_run_logger()
        tail = Tail(work.journals)
        waiting = list(reversed(shards))
        running: dict[PrefectRayFuture[None], Shard] = {}
        with ExitStack() as stack:
            runner = stack.enter_context(_cluster(self.config))
            stack.enter_context(remote_options(num_cpus=self.config.cpus, max_retries=self.config.restarts))
            stack.callback(_stop, running)
            log.info("%d shards of %s, %d at once", len(shards), self.of, at_once or self.at_once)
            while waiting or running:
                while waiting and len(running) < (at_once or self.at_once):
                    shard = waiting.pop()
                    name = f"{self.of}: {shard}"
                    future = runner.submit(work_on, {"name": name, "job": partial(work, shard)})
                    running[future] = shard
                for future in _finished(list(running)):
                    self._require_done(future, running.pop(future))
                for record in tail.news():
                    seen(record)

    def _require_done(self, future: "PrefectRayFuture[None]", shard: Shard) -> None:
        future.wait()
        if future.state.is_crashed():
            raise EngineError(
                f"{self.of}, shard {shard.number} ({shard}): its worker died {self.config.restarts + 1} times "
                f"(sharding.restarts = {self.config.restarts}): {future.state.message}. What shards have done is "
                "kept: run the stage again, and only the rest is made"
            )
        future.result()  # raises what the shard raised


def _finished(futures: "list[PrefectRayFuture[None]]") -> "list[PrefectRayFuture[None]]":
    """Those that are done, after a while at most."""
    import ray  # noqa: PLC0415

    references = {future.wrapped_future: future for future in futures}
    done, _ = ray.wait(list(references), num_returns=1, timeout=_LOOK_SECONDS)
    return [references[reference] for reference in done]


def _stop(futures: "dict[PrefectRayFuture[None], Shard]") -> None:
    """Cancels shards that still run; they keep what they have done."""
    import ray  # noqa: PLC0415

    if not (references := [future.wrapped_future for future in futures]):
        return
    get_run_logger().info("stopping %d shards", len(references))
    for reference in references:
        ray.cancel(reference)
    _, left = ray.wait(references, num_returns=len(references), timeout=_STOP_SECONDS)
    for reference in left:
        ray.cancel(reference, force=True)


@contextmanager
def _cluster(config: ShardingConfig) -> "Iterator[RayTaskRunner[None]]":
    """A task runner on the cluster that there is, or on one of this machine alone, which is gone afterwards.

    Raises:
        ConfigError: nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if config.address is None or config.address.startswith(f"{LOOPBACK}:"):
        os.environ[_KEEP_TO_LOOPBACK] = "0"  # before Ray is imported
    from prefect_ray import RayTaskRunner  # noqa: PLC0415

    how: dict[str, Any] = {"log_to_driver": False}
    match config.address:
        case None:
            local = {
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
            }
            runner = RayTaskRunner("local", how | local)
        case "auto":
            runner = RayTaskRunner(init_kwargs=how | {"address": "auto"})
        case address:
            runner = RayTaskRunner(address, how)
    with ExitStack() as stack:
        with _signals_kept():
            try:
                stack.enter_context(runner)
            except (ConnectionError, TimeoutError) as error:
                raise ConfigError(
                    f"sharding.address = {config.address!r}: there is no Ray cluster that can be used from here "
                    f"({error}); start one with `ray start`, or leave the address unset for one of this machine alone"
                ) from error
        yield runner


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray ends the process at SIGTERM without a word to Prefect, which is how Prefect cancels a run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
