"""API keys of endpoints: read from the environment when they are needed, and kept nowhere."""

import os

from spot_core.config.engine import EngineConfig
from spot_core.errors import ConfigError

NO_KEY = "no-key"
"""Sent to a server that asks for none."""


def key_of_environment(variable: str, *, setting: str, remedy: str = "") -> str:
    """The key in a variable of the environment.

    Raises:
        ConfigError: it is not set; the message names the setting that names it.
    """
    if not (key := os.environ.get(variable, "")):
        raise ConfigError(
            f"{setting} = {variable!r}: this environment variable is not set where the stage runs; export the API key "
            f"under this name before you start the worker{remedy}"
        )
    return key


def engine_key(engine: EngineConfig) -> str:
    """The key for the policy's server.

    Raises:
        ConfigError: `engine.api_key_env` names a variable that is not set.
    """
    if engine.base_url is None or engine.api_key_env is None:
        return NO_KEY
    return key_of_environment(engine.api_key_env, setting="engine.api_key_env")
