"""Another node's side of a training job: it comes to node 0, starts its share of the ranks and stays until the end."""

import json
import logging
import socket
import time

from spot_core.config.train import split_address
from spot_core.errors import ConfigError, EngineError, InputError
from spot_core.processes.supervised import SupervisedProcess
from spot_core.training.job import TrainingJob
from spot_core.training.line import Diagnosis, Ended, Hello, Line, Message, Order, Over, Refusal
from spot_core.training.meeting import facts
from spot_core.training.ranks import Seat, ranks_of
from spot_core.training.symptoms import TRAINING

_POLL_SECONDS = 0.5
_RETRY_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
_LAST_WORD_SECONDS = 60.0
"""How long node 0 may take to say how the job ended, and our ranks to end when it has."""

log = logging.getLogger(__name__)


def take_part(address: str, *, wait_seconds: float) -> None:
    """Takes part in the jobs of the training stage that meets at ``address`` (host:port), until it has trained.

    A stage may have two: the reference log-probs, then training.

    Args:
        wait_seconds: how long to wait for each of them.

    Raises:
        ConfigError: the address is none, this node does not match node 0, or a setting cannot work.
        InputError: this node cannot see the job's files.
        EngineError: nothing came to be, or the job failed, here or elsewhere.
    """
    mode = ""
    while mode != "train":
        line = _come(address, wait_seconds)
        try:
            mode = _serve(line, wait_seconds)
        finally:
            line.close()


def _come(address: str, wait_seconds: float) -> Line:
    """Returns the line to node 0 once it listens."""
    host, port = split_address(address)
    deadline = time.monotonic() + wait_seconds
    told = False
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=_CONNECT_SECONDS)
            # A port of this machine that nobody listens at may be connected to itself.
            if connection.getsockname() != connection.getpeername():
                return Line(connection)
            connection.close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise EngineError(
                    f"no training stage has come to {address} within {wait_seconds / 60:g} minutes ({error}): "
                    "look whether its run still goes on, and whether train.rendezvous says the same address"
                ) from error
            if not told:
                log.info("waiting for a training stage at %s (now: %s)", address, error)
                told = True
        time.sleep(_RETRY_SECONDS)


def _serve(line: Line, wait_seconds: float) -> str:
    """Does this node's part of one job; returns its mode."""
    line.send(Hello(host=socket.gethostname(), facts=facts()))
    log.info("met node 0 at %s; waiting for the others", line.peer_ip)
    message = _wait_for_message(line, wait_seconds)
    if isinstance(message, Refusal):
        raise ConfigError(f"node 0 ({line.peer_ip}) refused this node: {message.why}")
    if isinstance(message, Over):
        raise EngineError(f"the job ended before it began: {message.said}")
    assert isinstance(message, Order)
    try:
        job = _read_job(message)
    except InputError as error:
        line.send(Ended(status=1, diagnosis=Diagnosis(kind="InputError", message=str(error))))
        raise
    log.info("%s: node %d of %d, log in %s", job.mode, message.node, job.settings.nodes, message.log_path)
    seat = Seat(message.node, own_ip=line.own_ip, store_ip=line.peer_ip, store_port=message.store_port)
    with ranks_of(job, seat, log_path=message.log_path) as ranks:
        _attend(line, job, ranks)
    log.info("%s: completed", job.mode)
    return job.mode


def _attend(line: Line, job: TrainingJob, ranks: SupervisedProcess) -> None:
    """Returns when the job is completed."""
    while (status := ranks.poll()) is None:
        message = _receive(line)
        if isinstance(message, Over):
            _heed(message, ranks)
            return
        time.sleep(_POLL_SECONDS)
    if status == 0:
        line.send(Ended(status=0))
        message = _wait_for_message(line, _LAST_WORD_SECONDS)
        assert isinstance(message, Over)
        _heed(message, ranks)
        return
    diagnosis, account = (
        _diagnosis(job),
        ranks.account(f"the ranks of this node ended with status {status}", TRAINING),
    )
    line.send(Ended(status=status, diagnosis=diagnosis, account=account))
    raise EngineError(account if diagnosis is None else f"{diagnosis.message}\n{account}")


def _heed(message: Over, ranks: SupervisedProcess) -> None:
    if not message.completed:
        raise EngineError(f"the job has failed; node 0 says: {message.said}")
    deadline = time.monotonic() + _LAST_WORD_SECONDS
    while ranks.poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _receive(line: Line) -> Message | None:
    try:
        return line.receive()
    except ConnectionError as error:
        raise EngineError(
            f"node 0 ({line.peer_ip}) is gone ({error}): the stage was ended there, or the machine or its network "
            "is down. Start the stage again, which goes on from the last checkpoint, and this command"
        ) from error


def _wait_for_message(line: Line, wait_seconds: float) -> Message:
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        if (message := _receive(line)) is not None:
            return message
        time.sleep(_POLL_SECONDS)
    raise EngineError(f"node 0 ({line.peer_ip}) has said nothing for {wait_seconds / 60:g} minutes")


def _read_job(order: Order) -> TrainingJob:
    """The job, after a look at whether this node sees its files.

    Raises:
        InputError: it does not.
    """
    here = order.job_path.read_text(encoding="utf-8") if order.job_path.is_file() else None
    job = TrainingJob.model_validate_json(order.job)
    needed = [job.model_path / "config.json", *job.pairs, *(job.reference or ()), job.output_dir]
    hidden = [str(order.job_path)] if here != order.job else [str(p) for p in needed if not p.exists()]
    if hidden:
        raise InputError(
            f"{socket.gethostname()} does not see what node 0 sees at {', '.join(hidden)}: all nodes need the "
            "store and the model at the same path, on storage that they share"
        )
    return job


def _diagnosis(job: TrainingJob) -> Diagnosis | None:
    """What a rank of this node wrote down, if one did."""
    if not job.error_path.is_file():
        return None
    return Diagnosis(**json.loads(job.error_path.read_text(encoding="utf-8")))
