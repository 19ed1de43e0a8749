"""A real Ray cluster on loopback: every worker a node of its own, with processes of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tasks.sharding import LOOPBACK

_OBJECT_STORE_BYTES = 80 * 1024**2
_SHARD = "ray::shard"
"""How Ray names the process that works on the Prefect task of this name."""


@contextmanager
def ray_cluster(nodes: int = 2, *, cpus: int = 1) -> Iterator[str]:
    """The address of a cluster of so many nodes; it ends with the context."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # it keeps to loopback; see `tasks.sharding`
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - not before that setting is in the environment

    size = {"num_cpus": cpus, "object_store_memory": _OBJECT_STORE_BYTES, "node_ip_address": LOOPBACK}
    cluster = Cluster(initialize_head=True, head_node_args=size | {"include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**size)
        yield cluster.address
    finally:
        cluster.shutdown()


def shard_processes() -> list[psutil.Process]:
    """The processes of this program's cluster that are at work on a shard."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith(_SHARD) or _SHARD in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found
