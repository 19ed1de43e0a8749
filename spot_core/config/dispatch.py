"""Where the stages of a run are run, and what keeps two of them off one GPU."""

from typing import Literal

from pydantic import Field

from spot_core.config.base import Section


class DispatchConfig(Section):
    """How the flow `spot` has its stages run. Nothing of this enters a key or makes it another run."""

    stages: Literal["auto", "subflows", "deployments"] = "auto"
    """subflows: in the process of the flow `spot`. deployments: each stage through its own deployment (`rollout/stage`, …),
    by a worker of that deployment's work pool, so that no GPU is held while an Oracle is asked. auto: through its
    deployment if that has another work pool than the flow `spot`, else as a subflow."""
    gpu_limit: str | None = Field(default="spot-gpu", min_length=1)
    """Global concurrency limit of Prefect that is held while a stage uses a GPU here, so that jobs of several runs take
    turns. It has to exist: `prefect gcl create spot-gpu --limit 1`; one for each machine, or with as many slots as jobs
    may run at once. null: none."""
