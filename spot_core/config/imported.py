"""Settings of corrections that exist already."""

from typing import Literal

from pydantic import Field

from spot_core.config.base import Section


class ImportedOracleConfig(Section):
    """Corrections made elsewhere."""

    kind: Literal["imported"] = "imported"
    """Which Oracle this is."""
    path: str = Field(min_length=1)
    """File."""
