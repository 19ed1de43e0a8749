"""A flow outlives the worker that reads what it prints."""

import logging
import os

from prefect.logging.handlers import PrefectConsoleHandler


def outlive_reader() -> None:
    """From now on, a line that nobody reads any more goes nowhere.

    The worker reads a flow's output through a pipe. After kill -9 of the worker, rich, which prints Prefect's lines,
    would end the flow's process at the next one.
    """
    loggers = (logging.root, *map(logging.getLogger, tuple(logging.root.manager.loggerDict)))
    for handler in (handler for logger in loggers for handler in logger.handlers):
        if isinstance(handler, PrefectConsoleHandler):
            handler.console.on_broken_pipe = _print_nowhere  # type: ignore[method-assign]


def _print_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
