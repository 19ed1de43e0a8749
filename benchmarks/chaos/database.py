"""PostgreSQL as a service that is started again when it dies."""

import psutil

from tests.e2e.postgres import Postgres


class Database:
    """What `benchmarks.chaos.services.Supervisor` wants of a service, for a `Postgres` that has been entered."""

    name = "postgres"

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self.starts = 1

    @property
    def pid(self) -> int | None:
        """Process id of the postmaster."""
        return None if self._postgres.process is None else self._postgres.process.pid

    @property
    def died(self) -> bool:
        process = self._postgres.process
        try:
            return process is None or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def start(self) -> None:
        """Starts it again on the same data."""
        self._postgres.start()
        self.starts += 1

    def stop(self) -> None:
        """Ends it in order."""
        self._postgres.stop()
