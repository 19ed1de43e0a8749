"""The units that are retried and seen in the Prefect UI, one module per stage."""

import logging

from prefect.settings import get_current_settings

# Prefect forwards the lines of `extra_loggers` (pyproject.toml) to the run, but leaves them at the root's level: Warning.
logging.getLogger("spot_core").setLevel(get_current_settings().logging.level)
