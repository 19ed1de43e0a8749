"""The compose file: valid, closed by default, and without a secret in it."""

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import Settings
from prefect.settings.legacy import _get_settings_fields

from deployments.local import POOLS
from tests.docker.dockerfile import REPOSITORY, environment

COMPOSE = REPOSITORY / "docker" / "compose.yaml"
BIN = Path(sys.executable).parent
SECRET = re.compile(r"PASSWORD|AUTH|KEY|SECRET|TOKEN")
"""In the names of what is nobody's business."""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def test_it_follows_the_compose_specification():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_ports_are_open_to_this_machine_alone_and_the_database_to_the_server_alone(services: dict):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(str(port).startswith("127.0.0.1:") for port in ports)
    assert {name for name, service in services.items() if "database" in service["networks"]} == {
        "database",
        "server",
    }
    assert yaml.safe_load(COMPOSE.read_text())["networks"]["database"]["internal"]
    assert not any(service.get("privileged") or "network_mode" in service for service in services.values())


def test_secrets_come_from_outside_and_each_goes_to_those_who_need_it(services: dict):
    holders: dict[str, set[str]] = {}
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                source = re.fullmatch(r"\$\{(\w+):\?run docker/new-secrets.sh\}", value)
                assert source, f"{name}: {variable} is in the file"
                holders.setdefault(source[1], set()).add(name)
    assert holders["POSTGRES_PASSWORD"] == {"database", "server"}
    assert holders["PREFECT_API_AUTH_STRING"] == set(services) - {"database"}
    files = {
        name: [file["path"] for file in service.get("env_file", [])] for name, service in services.items()
    }
    assert [name for name, paths in files.items() if "oracle.env" in paths] == ["worker-api"]


def test_new_secrets_are_private_differ_and_stay(tmp_path: Path):
    made = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        script = shutil.copy(REPOSITORY / "docker" / "new-secrets.sh", folder)
        for _ in range(2):
            subprocess.run([script], check=True, capture_output=True)
            made.append((folder / ".env").read_text())
        assert {stat.S_IMODE((folder / name).stat().st_mode) for name in (".env", "oracle.env")} == {0o600}
    assert made[0] == made[1]
    assert made[2] == made[3]
    lines = [dict(line.split("=") for line in text.splitlines()) for text in (made[0], made[2])]
    assert all(len(line["POSTGRES_PASSWORD"]) == 48 for line in lines)
    assert not set(lines[0].values()) & set(lines[1].values())
    wanted = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    assert wanted == set(lines[0])
    ignored = subprocess.run(
        ["git", "check-ignore", "docker/.env", "docker/oracle.env", "docker/store.env"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ignored.stdout.split() == ["docker/.env", "docker/oracle.env", "docker/store.env"]


def test_every_pool_has_its_worker_and_every_service_waits_for_what_it_needs(services: dict):
    workers = {name: service["command"] for name, service in services.items() if name.startswith("worker-")}
    assert {tuple(command) for command in workers.values()} == {(pool,) for pool in POOLS}
    assert all("deploy" in services[name]["depends_on"] for name in workers)
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            match how["condition"]:
                case "service_healthy":
                    assert services[needed]["healthcheck"]["test"]
                case "service_completed_successfully":
                    assert services[needed]["restart"] == "no"
                case other:
                    pytest.fail(f"{needed}: {other} waits for nothing")


def test_images_have_a_version_and_volumes_stand_where_the_image_expects_them(services: dict):
    for service in services.values():
        assert "build" in service or re.fullmatch(r"[a-z/]+:\d+\.\d+-[a-z]+", service["image"])
    mounted = {volume.split(":")[1] for volume in services["worker-gpu"]["volumes"]}
    assert {"/spot/artifacts", environment()["PREFECT_LOCAL_STORAGE_PATH"]} <= mounted
    assert any(environment()["SPOT_SCRATCH"].startswith(f"{path}/") for path in mounted)
    for name in ("worker-cpu", "worker-api", "worker-no-gpu"):
        assert services[name]["volumes"] == services["worker-gpu"]["volumes"]


def test_the_gpu_worker_alone_takes_the_gpu(services: dict):
    taking = {name: service["deploy"]["resources"]["reservations"]["devices"] for name, service in services.items()
              if "deploy" in service}  # fmt: skip
    assert list(taking) == ["worker-gpu"]
    assert taking["worker-gpu"][0]["capabilities"] == ["gpu"]
    assert services["worker-gpu"]["build"]["args"] == {"DEVICE": "gpu"}


def test_prefect_knows_every_setting_of_image_and_compose_file(services: dict):
    given = {name for service in services.values() for name in service.get("environment", {})} | set(
        environment()
    )
    ours = {name for name in given if name.startswith("PREFECT_")}
    assert ours
    assert ours <= set(_get_settings_fields(Settings))  # its own table of variables
