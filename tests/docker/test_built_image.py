"""The CPU image, built by buildah, which needs no daemon. Root's `chroot` isolation needs no kernel feature of containers.

Options for a mirror (docs/clusters.md, "Images") come from SPOT_IMAGE_OPTIONS.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.docker.dockerfile import REPOSITORY, arguments

IMAGE = "localhost/spot-worker:test"
ISOLATION = ["--isolation", "chroot"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="buildah's isolation `chroot` needs root"),
]


def buildah(*command: str) -> str:
    """What buildah prints, which must succeed."""
    done = subprocess.run(["buildah", *command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def run_inside() -> Iterator[Callable[[str], str]]:
    """Runs a Python program as the image's own user; returns what it prints."""
    [base] = [rest.split()[0] for rest in arguments("FROM") if ":" in rest]
    pulled = subprocess.run(
        ["buildah", "pull", "--policy", "missing", f"docker.io/library/{base}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if pulled.returncode:
        pytest.skip(f"no registry has the base image {base}: {pulled.stderr[-200:]}")
    options = shlex.split(os.environ.get("SPOT_IMAGE_OPTIONS", ""))
    buildah("build", *ISOLATION, "--layers", "--pull-never", "--format", "docker", "--file", "docker/Dockerfile",
            "--build-arg", "DEVICE=cpu", *options, "--tag", IMAGE, ".")  # fmt: skip
    container = buildah("from", "--pull-never", IMAGE)
    yield lambda program: buildah("run", *ISOLATION, container, "--", "python", "-c", program)
    buildah("rm", container)


def test_everything_that_stages_load_is_there(run_inside: Callable[[str], str]):
    printed = run_inside("""
import deepspeed, vllm, vllm.entrypoints.openai.api_server, s3fs, wandb, deployments.cluster
from pathlib import Path
import yaml
from prefect.flows import load_flow_from_entrypoint
for file in [Path("prefect.yaml"), Path("deployments/pools/prefect.yaml")]:
    for entrypoint in {d["entrypoint"] for d in yaml.safe_load(file.read_text())["deployments"]}:
        load_flow_from_entrypoint(entrypoint)
print("loaded from", Path(deployments.cluster.__file__).parent)
""")
    assert printed.endswith("loaded from /spot/deployments")


def test_deepspeed_can_compile_its_operation(run_inside: Callable[[str], str]):
    printed = run_inside("""
from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder
print("loaded", ShareMemCommBuilder().load().__name__)
""")
    assert printed.endswith("loaded deepspeed_shm_comm")


def test_the_worker_is_not_root_and_its_own_are_state_store_home_and_temporary_files_alone(
    run_inside: Callable[[str], str],
):
    printed = run_inside("""
import os
print(os.getuid(), os.getgid(), os.environ["HOME"])
for root, folders, files in os.walk("/"):
    if root == "/":
        folders[:] = [f for f in folders if f not in ("proc", "sys", "dev")]
    mine = [os.path.join(root, f) for f in folders if os.access(os.path.join(root, f), os.W_OK)]
    folders[:] = [f for f in folders if os.path.join(root, f) not in mine]
    for name in mine:
        print(os.path.realpath(name))
    for name in files:
        path = os.path.join(root, name)
        if not os.path.islink(path) and os.access(path, os.W_OK):
            print(path)
""")
    user, *own = printed.splitlines()
    assert user == "1000 1000 /home/spot"
    assert set(own) <= {"/home/spot", "/run/lock", "/spot/artifacts", "/tmp", "/var/lib/spot", "/var/tmp"}
    assert {"/home/spot", "/spot/artifacts", "/tmp", "/var/lib/spot"} <= set(own)
