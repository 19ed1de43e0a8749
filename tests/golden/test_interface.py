"""What users and their scripts call by name: deployments, parameters, commands, options, fields of the summary."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
import yaml
from prefect.utilities.callables import parameter_schema

from spot_cli.main import app
from spot_core.config.spot import SpotConfig
from spot_core.report.summary import summarise
from spot_core.runs import Run
from tests.golden.golden import compare

ROOT = Path(__file__).parents[2]
WORDS = {"title", "description", "position"}


def without_words(schema: Any) -> Any:
    """A JSON schema without what is only read by people."""
    if isinstance(schema, dict):
        fields = {"properties", "definitions"}
        return {
            key: {name: without_words(value) for name, value in part.items()}
            if key in fields
            else without_words(part)
            for key, part in schema.items()
            if key not in WORDS
        }
    return [without_words(part) for part in schema] if isinstance(schema, list) else schema


def test_deployments_have_their_names_and_parameters() -> None:
    found, schemas = {}, {}
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        path, name = deployment["entrypoint"].split(":")
        flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)
        found[f"{flow.name}/{deployment['name']}"] = deployment.get("parameters")
        schemas[flow.name] = without_words(parameter_schema(flow).model_dump())
    compare("deployments", {"default_parameters": found, "schemas": schemas})


def commands(command: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if below := getattr(command, "commands", None):
        for part, other in below.items():
            yield from commands(other, f"{name} {part}")
        return
    options = {
        parameter.name or "": {
            "written": [*parameter.opts, *parameter.secondary_opts],
            "required": parameter.required,
            "several": parameter.multiple or parameter.nargs == -1,
        }
        for parameter in command.params
    }
    yield name, options


def test_commands_have_their_names_and_options() -> None:
    compare("commands", dict(commands(typer.main.get_command(app), "spot")))


def test_the_summary_has_its_fields(tmp_path: Path) -> None:
    summary = summarise(Run.create(SpotConfig.from_profile("demo", store=str(tmp_path)), "one"))
    compare("summary", sorted(summary))
