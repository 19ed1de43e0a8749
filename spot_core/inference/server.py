"""Starts, watches and stops a vLLM server."""

import logging
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
import psutil

from spot_core.config.engine import EngineConfig
from spot_core.devices import find_distribution, has_gpu
from spot_core.errors import ConfigError, EngineError, SpotError
from spot_core.inference.capacity import resolve_copies
from spot_core.inference.symptoms import PORT, VLLM
from spot_core.processes.guard import GRACE_SECONDS
from spot_core.processes.supervised import SupervisedProcess, free_port

log = logging.getLogger(__name__)

SERVED_NAME = "policy"
DEATH_SECONDS = 2 * GRACE_SECONDS
"""How long after its connections broke a server may take until it is gone: its engine is given time to end."""
_POLL_SECONDS = 0.5
_SAY_SECONDS = 30.0
_MOST_PORTS_LOST = 3


class VllmServer:
    """A vLLM server of its own process group on a free loopback port; entering waits until it answers.

    A port that another process takes before vLLM does leads to another try with another one.

    Raises:
        ConfigError: it does not start with these settings or this model.
        EngineError: it ended while starting for another reason, or did not answer in time. Both say why, as far as it
            is known, and show the end of its log.
    """

    def __init__(
        self, model_path: Path, engine: EngineConfig, *, log_path: Path, trust_remote_code: bool = False
    ) -> None:
        self._model_path = model_path
        self._engine = resolve_copies(engine)
        self._log_path = log_path
        self._trust_remote_code = trust_remote_code
        self._abandoned = False
        self.port = 0
        self.ports_lost = 0
        """Ports that were free and were taken by another process before vLLM could listen."""

    def __enter__(self) -> Self:
        while True:
            self.port = free_port()
            self.process = SupervisedProcess(
                server_command(self._model_path, self._engine, self.port, self._trust_remote_code),
                name="vLLM",
                log_path=self._log_path,
                env=_environment(self._engine),
            )
            with ExitStack() as started:
                started.enter_context(self.process)
                try:
                    self._wait_until_healthy()
                except _PortLostError:
                    continue
                started.pop_all()
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server and all that it started."""
        self.process.stop()

    def abandon_start(self) -> None:
        """Makes entering, which another thread is waiting in, end the server and raise an EngineError."""
        self._abandoned = True

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def died(self) -> bool:
        return self.process.poll() is not None

    def _wait_until_healthy(self) -> None:
        started = said = time.monotonic()
        limit = self._engine.startup_timeout_seconds
        with httpx2.Client(trust_env=False) as http:
            while True:
                if self._abandoned:
                    raise EngineError("the vLLM server is not needed any more")
                if self.died:
                    raise self._why_it_ended()
                now = time.monotonic()
                if now - started > limit:
                    raise self.failure(f"did not answer within engine.startup_timeout_seconds = {limit:g}")
                if now - said > _SAY_SECONDS:
                    said = now
                    log.info(
                        "vLLM is still starting after %.0f s (log: %s)", now - started, self.process.log_path
                    )
                try:
                    answer = http.get(f"http://127.0.0.1:{self.port}/health", timeout=5)
                    if answer.status_code == httpx2.codes.OK and self._listens():
                        log.info("vLLM answers after %.0f s", now - started)
                        return
                except httpx2.TransportError:
                    pass  # not listening yet
                time.sleep(_POLL_SECONDS)

    def _listens(self) -> bool:
        """Whether it is ours that answers: the server of another run may have been faster.

        Raises:
            _PortLostError: another process listens there too, as several API processes of vLLM may on one port.
        """
        ours = {process.pid for process in self.process.tree()}
        listening = {
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == self.port
        }
        if listening & ours and listening - ours:
            raise self._lose_port()
        return bool(listening & ours)

    def failure(self, what: str) -> EngineError:
        """An error that says what happened and why, and shows the end of the server's own log."""
        return EngineError(self.process.account(f"the vLLM server {what}", VLLM))

    def _why_it_ended(self) -> SpotError:
        found, what = self.process.diagnosis(VLLM), "the vLLM server ended while starting"
        if found is not None and found.is_setting:
            return ConfigError(self.process.account(what, VLLM))
        if found is None or found.name != PORT:
            return EngineError(self.process.account(what, VLLM))
        return self._lose_port()

    def _lose_port(self) -> EngineError:
        """Counts a port that another process took; an error that it is one too many, or to start again after."""
        if self.ports_lost >= _MOST_PORTS_LOST:
            return self.failure("found its port taken again and again")
        self.ports_lost += 1
        said = f"port {self.port} was free and is taken now (lost: {self.ports_lost}); vLLM starts again with another"
        log.warning("%s", said)
        return _PortLostError(said)


class _PortLostError(EngineError):
    """Another process was faster."""


def server_command(model_path: Path, engine: EngineConfig, port: int, trust_remote_code: bool) -> list[str]:
    """Returns the command line of a server; the number of copies in ``engine`` is resolved.

    `vllm serve` has one API process for each copy of the model, the module that the CPU build needs a single one.
    """
    options = {
        "--served-model-name": SERVED_NAME,
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": engine.dtype,
        "--max-model-len": str(engine.max_model_len),
        "--generation-config": "vllm",  # else the model's own sampling defaults slip in
        "--tensor-parallel-size": str(engine.tensor_parallel_size),
        "--data-parallel-size": str(engine.data_parallel_size),
    }
    flags = ["--disable-uvicorn-access-log", *(["--trust-remote-code"] if trust_remote_code else [])]
    last = []
    if has_gpu():
        options["--gpu-memory-utilization"] = str(engine.gpu_memory_utilization)
    else:
        flags.append("--enforce-eager")
        # A prompt that is computed in pieces has its request's random numbers set back after each, which those of a CPU
        # cannot be: the engine would die. The last word, so that no further argument brings it back.
        last.append("--no-enable-chunked-prefill")
    # The command asks for the metadata of a package called vllm, which the CPU build lacks.
    if find_distribution("vllm") is not None:
        command = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", str(model_path)]
    else:
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model_path)]
    return [
        *command,
        *(part for option in options.items() for part in option),
        *flags,
        *engine.extra_args,
        *last,
    ]


def _environment(engine: EngineConfig) -> dict[str, str]:
    environment = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    environment["VLLM_API_KEY"] = (
        ""  # that of another server: this one listens on 127.0.0.1 and asks for none
    )
    environment["VLLM_BATCH_INVARIANT"] = str(int(engine.batch_invariant))
    if not has_gpu():
        environment["VLLM_CPU_KVCACHE_SPACE"] = os.environ.get(
            "VLLM_CPU_KVCACHE_SPACE", str(engine.cpu_kvcache_gib)
        )
    return environment
