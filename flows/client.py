"""The way to Prefect's API from inside a flow run."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import SyncPrefectClient
from prefect.context import SyncClientContext


@contextmanager
def own_client() -> Iterator[SyncPrefectClient]:
    """The client of this flow run, which waits for a server that is away; a new one would fail at once.

    Prefect repeats a refused connection only for a client that has been connected before.
    """
    with SyncClientContext.get_or_create() as context:
        yield context.client
