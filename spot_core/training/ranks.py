"""The ranks of one node as a supervised process: torchrun's command line and what they find in their environment."""

import hashlib
import ipaddress
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from spot_core.devices import cores, has_gpu
from spot_core.processes.supervised import SupervisedProcess
from spot_core.training.job import TrainingJob

RENDEZVOUS_BACKEND = "one-address"
"""Name of the rendezvous that `spot_core.training.agent` adds to torchrun."""
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Seat:
    """One node's place among those that train together."""

    node: int
    """Its number: node 0 runs the stage and has the first ranks."""
    own_ip: str
    """Its address on the network that the nodes share."""
    store_ip: str
    """Address of node 0."""
    store_port: int
    """Where torchrun's store listens there; 0 lets node 0 choose, if nobody else needs to know."""

    @classmethod
    def alone(cls) -> "Seat":
        """The seat of the only node: nothing leaves the machine."""
        return cls(node=0, own_ip=_LOOPBACK, store_ip=_LOOPBACK, store_port=0)


def ranks_of(job: TrainingJob, seat: Seat, *, log_path: Path) -> SupervisedProcess:
    """Returns this node's share of the job, ready to be entered as a context."""
    command, variables = _command(job, seat, log_path), environment(job, seat)
    name = "ranks" if job.settings.nodes == 1 else f"ranks of node {seat.node}"
    return SupervisedProcess(command, name=name, log_path=log_path, env=variables)


def interface_of(ip: str) -> str | None:
    """Name of the network interface that has the address, if one has."""
    if ipaddress.ip_address(ip).is_loopback:
        return "lo"  # which has all of 127.0.0.0/8, and lists one
    for name, addresses in psutil.net_if_addrs().items():
        if any(address.address == ip for address in addresses):
            return name
    return None


def _command(job: TrainingJob, seat: Seat, log_path: Path) -> list[str]:
    settings = job.settings
    torchrun = [sys.executable, "-m", "spot_core.training.agent", "--max-restarts", "0"]
    size = ["--nnodes", str(settings.nodes), "--nproc_per_node", str(settings.ranks)]
    meet = ["--rdzv_backend", RENDEZVOUS_BACKEND, "--rdzv_endpoint", f"{seat.store_ip}:{seat.store_port}"]
    which = ["--rdzv_conf", f"rank={seat.node}", "--rdzv_id", _digest(job)]
    # Every rank's lines go to files of its own, and with its number before them into the common log.
    logs = ["--log-dir", str(log_path.with_name(f"{log_path.stem}-ranks")), "--tee", "3"]
    return [*torchrun, *size, *meet, *which, *logs, "-m", "spot_core.training.worker", str(job.job_path)]


def _digest(job: TrainingJob) -> str:
    return hashlib.sha256(job.model_dump_json().encode()).hexdigest()[:16]


def environment(job: TrainingJob, seat: Seat) -> dict[str, str]:
    """What the ranks of a node find in their environment beside what is there anyway."""
    variables = {
        "OMP_NUM_THREADS": str(max(1, cores() // job.settings.ranks)),
        "HF_HUB_OFFLINE": "1",  # the model is a folder
        "PYTHONUNBUFFERED": "1",  # a rank that is killed takes nothing with it that it has printed
        "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "[rank${rank}]: ",
        "PYTHONWARNINGS": "ignore::FutureWarning",  # DeepSpeed's calls into torch, once per rank
        **_interfaces(job, seat),
    }
    if not os.environ.keys() & {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"}:
        variables["PYTORCH_ALLOC_CONF"] = (
            "expandable_segments:True"  # rows differ in length, which leaves gaps
        )
    if job.backend == "gloo" or (job.backend == "auto" and not has_gpu()):
        variables["DS_ACCELERATOR"] = "cpu"
    return variables


def _interfaces(job: TrainingJob, seat: Seat) -> dict[str, str]:
    """Network interface of the collectives, unless the user has chosen one.

    Left to itself gloo takes the address that the machine's own name resolves to, which on many is 127.0.1.1.
    """
    name = interface_of(seat.own_ip)
    if name is None:
        return {}
    wanted = {"GLOO_SOCKET_IFNAME": name}
    if job.settings.nodes > 1:
        wanted["NCCL_SOCKET_IFNAME"] = f"={name}"  # exactly this one: NCCL takes a bare name as a prefix
    return {variable: value for variable, value in wanted.items() if variable not in os.environ}
