"""Makes on a Prefect server what the pipeline needs there: `python -m deployments.cluster`.

That is the work pools gpu, cpu and api, the deployments, the limit of the GPU, and the automations. It may be run again
after an upgrade: all is brought up to date, but for the limit, which is left as it is.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from deployments.kubernetes import job_template
from deployments.local import POOLS, POOLS_FILE, api_url, deploy_flows, prefect, server_answers
from spot_core.errors import EngineError, SpotError


def make_pools(*, kubernetes: bool) -> None:
    """Makes the work pools, or brings them up to date: flow runs are processes of their worker, or Kubernetes jobs.

    Raises:
        EngineError: Prefect's server refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        for pool in POOLS:
            arguments = ["--type", "process"]
            if kubernetes:
                template = Path(folder) / f"{pool}.json"
                template.write_text(json.dumps(job_template(pool)), encoding="utf-8")
                arguments = ["--type", "kubernetes", "--base-job-template", str(template)]
            prefect("work-pool", "create", pool, *arguments, "--overwrite")


def main() -> int:
    """0 if all is there, 1 if not, with the reason."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kubernetes", action="store_true", help="flow runs of the pools become Kubernetes jobs"
    )
    kubernetes = parser.parse_args().kubernetes
    console = Console()
    try:
        if not server_answers():
            raise EngineError(f"no Prefect server answers at {api_url()}: set PREFECT_API_URL")
        make_pools(kubernetes=kubernetes)
        deploy_flows(POOLS_FILE)
    except SpotError as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    console.print(f"deployed to {api_url()}: work pools {', '.join(POOLS)}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
