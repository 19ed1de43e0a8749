"""torchrun, with a store that listens on one address: ``python -m spot_core.training.agent`` TORCHRUN-ARGUMENTS.

The stores that torchrun makes by itself (and with ``--standalone`` too) accept connections on every interface
of the machine, ask nobody who they are, and one of them carries pickles. Here node 0 opens the socket itself, on
the address of ``--rdzv_endpoint`` alone; port 0 takes a free one. It carries no pickles.
"""

import socket
from datetime import timedelta

from torch.distributed import TCPStore
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousParameters
from torch.distributed.elastic.rendezvous.api import rendezvous_handler_registry
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous
from torch.distributed.elastic.rendezvous.utils import parse_rendezvous_endpoint
from torch.distributed.run import main

from spot_core.training.ranks import RENDEZVOUS_BACKEND

_TIMEOUT = timedelta(minutes=5)
"""How long agents wait for each other: they are all told to start at the same moment."""


class OneAddressRendezvous(StaticTCPRendezvous):
    """torchrun's static rendezvous (each node is told its number), whose store listens where it is told to."""

    def __init__(self, host: str, port: int, *, node: int, nodes: int, run_id: str) -> None:
        if node:
            super().__init__(host, port, node, nodes, run_id, int(_TIMEOUT.total_seconds()))
            return
        listening = socket.create_server((host, port))
        port = listening.getsockname()[1]
        super().__init__(host, port, node, nodes, run_id, int(_TIMEOUT.total_seconds()))
        self._store = TCPStore(
            host,
            port,
            nodes,
            is_master=True,
            timeout=_TIMEOUT,
            multi_tenant=True,
            master_listen_fd=listening.detach(),
        )

    def get_backend(self) -> str:
        """Name under which torchrun was asked for it."""
        return RENDEZVOUS_BACKEND


def _create(parameters: RendezvousParameters) -> RendezvousHandler:
    host, port = parse_rendezvous_endpoint(parameters.endpoint, default_port=-1)
    node = parameters.get_as_int("rank")
    assert node is not None, "usage: --rdzv_conf rank=NUMBER-OF-THIS-NODE"
    return OneAddressRendezvous(host, port, node=node, nodes=parameters.max_nodes, run_id=parameters.run_id)


if __name__ == "__main__":
    rendezvous_handler_registry.register(RENDEZVOUS_BACKEND, _create)
    main()
