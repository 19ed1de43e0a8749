"""What Prefect keeps of flows and tasks is JSON: nothing that is read back from its storage can run code."""

import importlib
import pkgutil
from types import ModuleType

import pytest
from prefect import Flow, Task

import flows
import tasks
from tests.docker.dockerfile import environment


def found(package: ModuleType, kind: type) -> list:
    modules = [
        importlib.import_module(m.name)
        for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return list(
        {id(v): v for module in modules for v in vars(module).values() if isinstance(v, kind)}.values()
    )


@pytest.mark.parametrize("one", [*found(flows, Flow), *found(tasks, Task)], ids=lambda one: one.name)
def test_what_is_kept_is_json(one: Flow | Task):
    if isinstance(one, Flow):
        assert one.persist_result is False or one.result_serializer == "json"
    else:  # as the flow that calls it says
        assert one.persist_result is not True
        assert one.result_serializer in (None, "json")


def test_images_know_no_other_serializer_either():
    assert environment()["PREFECT_RESULTS_DEFAULT_SERIALIZER"] == "json"
