"""Manifests for Kubernetes, and the template of the jobs that flow runs become there."""

import json
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent


def job_template(pool: str) -> dict[str, Any]:
    """Base job template of a work pool: `job-template.json` with the defaults that `pools.yaml` has for the pool.

    Raises:
        KeyError: `pools.yaml` has no such pool, or the template no such variable.
    """
    template = json.loads((FOLDER / "job-template.json").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((FOLDER / "pools.yaml").read_text(encoding="utf-8"))[pool]
    for name, value in defaults.items():
        template["variables"]["properties"][name]["default"] = value
    return template
