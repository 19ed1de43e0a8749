"""The pinned sets resolve for every Python and processor that the project names, and set-up and images use them."""

import os
import re
import shlex
import stat
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from shutil import copytree

import pytest

from tests.docker.dockerfile import REPOSITORY, arguments

CONSTRAINTS = REPOSITORY / "deployments" / "constraints"
UV = Path(sys.executable).with_name("uv")
EXTRAS = ("dev", "s3", "wandb", "smollm2")
X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
OVERRIDE = ("--override", "deployments/constraints/overrides.txt")
OF_THIS_MACHINE = {
    "UV_FIND_LINKS",
    "PIP_FIND_LINKS",
    "UV_TORCH_BACKEND",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_OFFLINE",
}


def compiled(*options, **environment):
    """What `uv pip compile` says, without the find-links and settings of this machine."""
    if not UV.exists():
        pytest.skip(f"there is no {UV}: `make setup` installs it")
    command = [UV, "pip", "compile", "--no-config", "--quiet", "--no-header", "--no-annotate", *options]
    kept = {name: value for name, value in os.environ.items() if name not in OF_THIS_MACHINE}
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=kept | environment,
        input="torch==2.13.0\n",
        capture_output=True,
        text=True,
        check=False,
    )


def skip_unless_answered(what, *options):
    done = compiled("-", "--no-deps", "--refresh", *options, UV_HTTP_RETRIES="0")
    if done.returncode:
        pytest.skip(f"{what} does not answer: {done.stderr.strip().splitlines()[-1]}")


@pytest.fixture(scope="module")
def index():
    skip_unless_answered("a package index")


@pytest.fixture(scope="module")
def cpu_index():
    skip_unless_answered("PyTorch's index of CPU builds", "--torch-backend", "cpu")


def resolve(device, python, platform, *options):
    """Version by name of the packages that are taken. What is cached (versions never change) is not asked for again."""
    extras = [word for extra in (device, *EXTRAS) for word in ("--extra", extra)]
    command = ["pyproject.toml", *extras, "--constraint", f"deployments/constraints/{device}.txt", *options]
    command += ["--python-version", python, "--python-platform", platform]
    done = compiled(*command, "--offline")
    if done.returncode:
        done = compiled(*command)
    assert done.returncode == 0, done.stderr
    return versions(done.stdout)


def versions(text):
    """Without the build that a local version names (+cpu): that is not for the file to choose."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("+")[0].split("==") for line in lines)


def pinned(device):
    return versions((CONSTRAINTS / f"{device}.txt").read_text())


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_the_gpu_set_resolves_from_an_index_without_find_links(index, python):
    taken = resolve("gpu", python, X86)
    assert taken.items() <= pinned("gpu").items()  # what is not pinned would differ from day to day
    assert any(name.startswith("nvidia-cudnn") for name in taken)  # torch is a build for CUDA


def test_every_pin_of_the_gpu_set_is_needed(index):
    assert resolve("gpu", "3.11", X86).keys() == pinned("gpu").keys()


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A folder with a wheel for every Python and processor that asks for what the installed CPU build of torch asks for."""
    torch = distribution("torch")
    if not torch.version.endswith("+cpu"):
        pytest.skip(f"torch {torch.version} is no CPU build: what one asks for is not known here")
    folder = tmp_path_factory.mktemp("wheels")
    about = f"torch-{torch.version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{torch.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", torch.read_text("METADATA"))
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return folder


@pytest.mark.slow  # with nothing cached
@pytest.mark.parametrize(("python", "platform"), [("3.12", X86), ("3.11", ARM)])
def test_the_cpu_set_resolves_with_a_stand_in_for_the_cpu_build_of_torch(index, stand_in, python, platform):
    taken = resolve("cpu", python, platform, *OVERRIDE, "--find-links", str(stand_in))
    assert taken.items() <= pinned("cpu").items()


@pytest.mark.parametrize(("python", "platform"), [("3.12", X86), ("3.11", ARM)])
def test_the_cpu_set_resolves_from_the_index_of_cpu_builds(index, cpu_index, python, platform):
    taken = resolve("cpu", python, platform, *OVERRIDE, "--torch-backend", "cpu")
    assert taken.items() <= pinned("cpu").items()


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the pins are those of Python 3.11")
def test_the_cpu_set_resolves_with_the_build_that_set_up_finds(index):
    script = 'device=cpu; . deployments/constraints/options.sh; printf "%s\n" "${options[@]}"'
    found = subprocess.run(
        ["bash", "-euc", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    options = found.stdout.splitlines()
    assert tuple(options[:2]) == OVERRIDE
    if "--find-links" not in options:
        pytest.skip("no CPU build of torch lies where pip looks for one")
    assert resolve("cpu", "3.11", X86, *options) == pinned("cpu")


@pytest.fixture
def machine(tmp_path):
    """A copy of what set-up reads, with a Python and a uv in .venv that write down what they are asked."""
    copytree(REPOSITORY / "deployments" / "constraints", tmp_path / "deployments" / "constraints")
    for name in ("pyproject.toml", "deployments/setup.sh"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name, body in {
        "python": f'case "$*" in *find-links*) echo "$LINKS" ;; *version_info*) exec {shlex.quote(sys.executable)} "$@" ;; esac',
        "uv": 'echo "$@" "${UV_FIND_LINKS:-}" >>asked',
    }.items():
        script = tmp_path / ".venv" / "bin" / name
        script.write_text(f"#!/usr/bin/env bash\n{body}\n")
        script.chmod(stat.S_IRWXU)
    return tmp_path


def asked_of_uv(machine, device, links):
    kept = {name: value for name, value in os.environ.items() if name not in OF_THIS_MACHINE}
    kept |= {"PYTHON": sys.executable, "LINKS": str(links)} | (
        {"UV_FIND_LINKS": str(links)} if device == "gpu" else {}
    )
    done = subprocess.run(
        ["bash", "deployments/setup.sh", device],
        cwd=machine,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [asked] = (machine / "asked").read_text().splitlines()
    return asked


@pytest.fixture
def wheels(tmp_path):
    (folder := tmp_path / "wheels").mkdir()
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    (folder / f"torch-2.13.0+cpu-{tag}-{tag}-manylinux_2_28_{os.uname().machine}.whl").touch()
    return folder


def test_set_up_for_a_gpu_does_not_look_where_a_cpu_build_may_lie(machine, wheels):
    asked = asked_of_uv(machine, "gpu", wheels)
    assert "--constraint deployments/constraints/gpu.txt --editable .[gpu,dev]" in asked
    assert not {"--find-links", "--torch-backend", "--override", str(wheels)} & set(asked.split())


def test_set_up_for_a_cpu_takes_the_build_for_its_python_or_the_index_of_cpu_builds(machine, wheels):
    asked = asked_of_uv(machine, "cpu", f"/nowhere {wheels}")
    assert "--constraint deployments/constraints/cpu.txt --editable .[cpu,dev]" in asked
    assert f"{shlex.join(OVERRIDE)} --find-links {wheels} " in asked
    assert "--torch-backend" not in asked
    for wheel in wheels.iterdir():
        wheel.rename(wheel.with_name(re.sub(r"cp\d+", "cp39", wheel.name)))
    (machine / "asked").unlink()
    (machine / ".venv" / ".spot-setup").unlink()
    asked = asked_of_uv(machine, "cpu", wheels)
    assert f"{shlex.join(OVERRIDE)} --torch-backend cpu " in asked
    assert "--find-links" not in asked


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_the_image_of_a_device_uses_the_files_that_set_up_uses(device):
    [run] = [run for run in arguments("RUN") if re.search(rf"--extra {device}\b", run)]
    assert re.findall(r"--constraint (\S+)", run) == [f"deployments/constraints/{device}.txt"]
    assert re.findall(r"--override (\S+)", run) == ([OVERRIDE[1]] if device == "cpu" else [])
    assert ("--torch-backend" in run) == (device == "cpu")
    extras = re.findall(r"--extra (\S+)", run)
    assert [extra for extra in extras if extra in ("cpu", "gpu")] == [device]
    assert set(extras) <= {device, *EXTRAS}  # the pins were resolved with these
