"""The Kubernetes manifests and the template of the jobs: valid, namespaced, without a secret, and as small as can be."""

import asyncio
import json
import re
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from prefect.settings import Settings
from prefect.settings.legacy import _get_settings_fields
from prefect.utilities.templating import find_placeholders
from prefect.workers.base import BaseJobConfiguration
from pydantic import Field

from deployments.kubernetes import FOLDER, job_template
from deployments.local import POOLS
from tests.docker.dockerfile import environment
from tests.docker.test_compose import COMPOSE, SECRET

FILES = sorted(path.name for path in FOLDER.glob("*.yaml") if path.name != "pools.yaml")
SECRETS = {"spot-prefect", "spot-database", "spot-store", "spot-oracle", "spot-none"}
"""The first two have to exist; the others may. docs/clusters.md makes them."""
VERSIONS = ("1.31.0", "1.37.0")


class JobConfiguration(BaseJobConfiguration):
    """The part of prefect-kubernetes' class that fills in the template."""

    job_manifest: dict[str, Any] = Field(default_factory=dict)


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / file).read_text()))


def job(pool: str, **variables: Any) -> dict[str, Any]:
    """The job that Prefect makes of a flow run in a pool: the template filled in, and `env` as a list."""
    given = {
        "name": "merry-otter",
        "command": "prefect flow-run execute",
        "env": {"PREFECT_API_URL": "http://s"},
    }
    configuration = asyncio.run(
        JobConfiguration.from_template_and_values(job_template(pool), given | variables)
    )
    manifest = configuration.job_manifest
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    # What prefect-kubernetes does to them.
    container["args"] = container["args"].split()
    container["env"] = [{"name": k, "value": v} for k, v in given["env"].items()] + container["env"]
    return manifest


def pods() -> list[tuple[str, dict[str, Any]]]:
    """The pod specification of every manifest that has one, and of every pool's jobs."""
    found = [(f"{file}: {d['kind']}", d["spec"]["template"]["spec"]) for file in FILES for d in documents(file)
             if "template" in d.get("spec", {})]  # fmt: skip
    return found + [(f"pool {pool}", job(pool)["spec"]["template"]["spec"]) for pool in POOLS]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_and_strictly_so(version: str):
    assert FILES
    for file in FILES:
        for document in documents(file):
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("variables", [{}, {"hostname": "node0", "gpus": 8, "node_selector": {"zone": "a"}}])
def test_the_jobs_of_every_pool_are_valid(pool: str, version: str, variables: dict):
    made = job(pool, **variables)
    assert "{{" not in json.dumps(made)
    pod = made["spec"]["template"]["spec"]
    # prefect-kubernetes 0.7.11 refuses a template without these; Kubernetes, which has them elsewhere, drops them.
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    kubernetes_validate.validate(made, version, strict=True)
    assert pod.get("hostname") == variables.get("hostname")


def test_a_manifest_that_is_wrong_is_noticed():
    wrong = job("gpu")
    wrong["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = ["nvidia.com/gpu"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_template_has_the_variables_that_it_uses_and_their_defaults_suit_them():
    for pool in POOLS:
        template = job_template(pool)
        schema = template["variables"]
        used = {placeholder.name for placeholder in find_placeholders(template["job_configuration"])}
        assert used == set(schema["properties"])
        defaults = {k: v["default"] for k, v in schema["properties"].items() if "default" in v}
        jsonschema.validate(defaults, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(defaults | {"gpus": -1}, schema)
    assert set(yaml.safe_load((FOLDER / "pools.yaml").read_text())) == set(POOLS)


def test_jobs_of_the_gpu_pool_have_gpus_and_those_of_api_alone_the_keys_of_oracles():
    def container(pool: str) -> dict[str, Any]:
        return job(pool)["spec"]["template"]["spec"]["containers"][0]

    assert {pool: container(pool)["resources"]["limits"]["nvidia.com/gpu"] for pool in POOLS} == {
        "gpu": 1, "cpu": 0, "api": 0}  # fmt: skip
    assert {pool: container(pool)["image"] for pool in POOLS} == {
        "gpu": "spot-worker:gpu", "cpu": "spot-worker:cpu", "api": "spot-worker:cpu"}  # fmt: skip
    holders = [pool for pool in POOLS if "spot-oracle" in json.dumps(container(pool)["envFrom"])]
    assert holders == ["api"]


@pytest.mark.parametrize(("where", "pod"), pods(), ids=[where for where, _ in pods()])
def test_no_pod_is_root_or_may_become_it_and_engines_have_time_to_end(where: str, pod: dict):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod.get("serviceAccountName") == "worker" or pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        if where.startswith(("pool", "training")):
            assert pod["terminationGracePeriodSeconds"] >= 60
            assert container["command"][:2] == ["/usr/bin/tini", "--"]


def test_all_is_in_one_namespace_has_a_version_and_refers_to_what_there_is():
    everything = [document for file in FILES for document in documents(file)]
    assert {d["metadata"].get("namespace", d["metadata"].get("name")) for d in everything} == {"spot"}
    text = json.dumps([everything, [job(pool) for pool in POOLS]])
    claims = {d["metadata"]["name"] for d in everything if d["kind"] == "PersistentVolumeClaim"}
    assert set(re.findall(r'"claimName": "([^"]+)"', text)) <= claims
    assert set(re.findall(r'"secret(?:KeyRef|Ref)": {"name": "([^"]+)"', text)) <= SECRETS
    images = set(re.findall(r'"image": "([^"]+)"', text))
    assert all(re.fullmatch(r"spot-worker:(cpu|gpu)|[a-z/]+:\d+\.\d+\S*", image) for image in images)
    for _, pod in pods():
        for container in pod["containers"]:
            for variable in container.get("env", []):
                assert not SECRET.search(variable["name"]) or "valueFrom" in variable
    # Only what is meant to be is reached from outside of the cluster: nothing.
    assert {d["spec"].get("type", "ClusterIP") for d in everything if d["kind"] == "Service"} == {"ClusterIP"}


def test_the_server_is_the_one_of_the_compose_file():
    [server] = [
        d for d in documents("cluster.yaml") if (d["kind"], d["metadata"]["name"]) == ("Deployment", "server")
    ]
    [container] = server["spec"]["template"]["spec"]["containers"]
    there = yaml.safe_load(COMPOSE.read_text())["services"]["server"]
    assert {variable["name"] for variable in container["env"]} == set(there["environment"])
    assert container["command"] == there["entrypoint"] + there["command"]


def test_jobs_write_where_volumes_are_and_prefect_knows_every_setting():
    mounts = {m["mountPath"] for m in job("gpu")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert {"/spot/artifacts", environment()["PREFECT_LOCAL_STORAGE_PATH"]} <= mounts
    assert any(environment()["SPOT_SCRATCH"].startswith(f"{path}/") for path in mounts)
    text = "".join((FOLDER / file).read_text() for file in FILES)
    named = {name for name in re.findall(r"\bPREFECT_\w+", text) if "INTEGRATIONS" not in name}
    assert named <= set(_get_settings_fields(Settings))
