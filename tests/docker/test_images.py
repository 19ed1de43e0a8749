"""The image of the workers, as far as it can be checked without a container engine."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.docker.dockerfile import REPOSITORY, arguments, copied, environment, health_command

BIN = Path(sys.executable).parent


def test_the_linter_of_dockerfiles_has_nothing_to_say():
    done = subprocess.run(
        [BIN / "hadolint", REPOSITORY / "docker" / "Dockerfile"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_everything_in_the_image_has_a_version():
    bases = [rest.split()[0] for rest in arguments("FROM")]
    assert [base for base in bases if ":" in base] == ["python:3.11.14-slim-bookworm"]
    installs = [part for run in arguments("RUN") for part in run.split("&&") if " install " in part]
    by_apt = [part.split("--no-install-recommends")[1].split() for part in installs if "apt-get" in part]
    assert all(re.fullmatch(r"[a-z+0-9]+=\S+", package) for packages in by_apt for package in packages)
    by_uv = [part for part in installs if "uv pip" in part]
    assert {re.search(r"--constraint (\S+)", part)[1] for part in by_uv} == {
        f"deployments/constraints/{device}.txt" for device in ("cpu", "gpu")
    }
    [uv] = [word for part in installs for word in part.split() if word.startswith("uv==")]
    assert f"uv_version={uv.removeprefix('uv==')}" in (REPOSITORY / "deployments" / "setup.sh").read_text()


def test_the_packages_of_the_images_are_sets_that_the_project_names():
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = {name for run in arguments("RUN") for name in re.findall(r"--extra (\S+)", run)}
    assert asked <= set(extras)
    assert {"cpu", "gpu", "s3"} <= asked
    assert "dev" not in asked


def test_the_worker_is_not_root_and_cannot_change_the_code_it_runs():
    user = arguments("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # a number: Kubernetes cannot tell what a name is
    assert not any("--chown" in rest for rest in arguments("COPY"))
    [made] = [run for run in arguments("RUN") if "useradd" in run]
    assert f"--uid {user.split(':')[0]} " in made
    owned = made.split("--group spot")[-1].split()
    assert "/spot" not in owned
    written = [environment()[name] for name in ("SPOT_STATE", "PREFECT_HOME", "PREFECT_LOCAL_STORAGE_PATH")]
    assert all(any(Path(path).is_relative_to(folder) for folder in owned) for path in written)


def test_the_context_is_what_is_copied_and_nothing_else():
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    sources = {source for source, _ in copied()}
    assert {source for source in sources if not any(Path(source).is_relative_to(a) for a in allowed)} == set()
    assert {a for a in allowed if not any(Path(source).is_relative_to(a) for source in sources)} == set()


def test_what_is_copied_is_enough_to_load_every_flow(tmp_path: Path):
    for source, destination in copied():
        target = tmp_path / "spot" / destination
        if (REPOSITORY / source).is_dir():
            shutil.copytree(
                REPOSITORY / source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
            )
        else:
            target = target / Path(source).name if destination.endswith("/") else target
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / source, target)
    program = """
import yaml, flows, deployments.cluster
from pathlib import Path
from prefect.flows import load_flow_from_entrypoint
from spot_core.config.spot import SpotConfig
assert Path(flows.__file__).is_relative_to(Path.cwd()), flows.__file__
for file in [Path("prefect.yaml"), Path("deployments/pools/prefect.yaml")]:
    for entrypoint in {d["entrypoint"] for d in yaml.safe_load(file.read_text())["deployments"]}:
        load_flow_from_entrypoint(entrypoint)
SpotConfig.from_profile("demo")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "spot",
        env={"PYTHONPATH": str(tmp_path / "spot"), "PATH": str(BIN), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("arguments", "said"), [([], "name the work pool"), (["gpu"], "PREFECT_API_URL")])
def test_the_worker_says_what_it_needs(arguments: list[str], said: str):
    script = REPOSITORY / "docker" / "worker.sh"
    done = subprocess.run(
        [script, *arguments], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert said in done.stderr


def test_the_health_check_fails_where_no_worker_answers(tmp_path: Path):
    command = [word.replace(":8080", ":9") for word in health_command()]  # the port that discards
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "refused" in done.stderr
