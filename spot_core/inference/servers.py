"""The servers of one model among which requests are shared; one that fails is left out as long as there are others."""

import logging
from collections.abc import Iterator, Sequence

from spot_core.errors import DeclinedRequestError, EngineError, RefusedRequestError, TooLongError
from spot_core.inference.client import ModelClient

log = logging.getLogger(__name__)


class Servers:
    """Clients of servers that answer the same request alike, since it carries its own seed."""

    def __init__(self, clients: Sequence[ModelClient]) -> None:
        self._names = dict.fromkeys(clients, "")

    def __contains__(self, client: ModelClient) -> bool:
        """Whether it is still asked."""
        return client in self._names

    def name(self, client: ModelClient) -> str:
        """What the model is called there."""
        return self._names[client]

    def serve(self, name: str) -> None:
        """Notes what the model is called everywhere."""
        self._names = dict.fromkeys(self._names, name)

    async def ask_names(self) -> None:
        """Asks each server what the model is called.

        Raises:
            EngineError: none of them answers.
        """
        for client in list(self._names):
            try:
                self._names[client] = await client.served_model()
            except EngineError as error:
                self.failed(client, error)

    def failed(self, client: ModelClient, error: EngineError) -> None:
        """Leaves a server out after a request that failed for good.

        Raises:
            EngineError: the same error, if it is the last server, or if it is the request or the configuration that is
                at fault.
        """
        if isinstance(error, DeclinedRequestError | RefusedRequestError | TooLongError):
            raise error
        if client in self._names:
            if len(self._names) == 1:
                raise error
            del self._names[client]
            log.warning("one of the servers is left out, %d others go on: %s", len(self._names), error)

    def in_turn(self, times: int) -> Iterator[ModelClient]:
        """Each server so many times, one after the other."""
        for _ in range(times):
            yield from self._names
