"""The profiles on machines with 1, 2 and 8 GPUs: how many ranks and copies, and what is refused before anything is paid."""

import pytest

from spot_core.config.spot import STAGES, SpotConfig
from spot_core.devices import list_gpus
from spot_core.errors import ConfigError
from spot_core.inference.capacity import resolve_copies
from spot_core.models import resolve_model
from spot_core.pipeline import stages
from spot_core.pipeline.machine import check_machine
from spot_core.pipeline.plan import make_plan
from spot_core.runs import Run
from spot_core.training.preflight import resolve_ranks

PROFILES = ("demo", "smollm2", "qwen3-8b", "llama3.1-8b")


def profile(name: str, tmp_path, **overrides) -> SpotConfig:
    return SpotConfig.from_profile(name, store=str(tmp_path / "store"), **overrides)


def check(config: SpotConfig, *which: str) -> list[str]:
    return check_machine(config, which or STAGES, model_path=resolve_model(config.model, download=False))


@pytest.mark.parametrize("gpus", [1, 2, 8])
@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_takes_all_gpus_of_its_machine(fake_machine, tmp_path, name, gpus):
    fake_machine(gpus)
    config = profile(name, tmp_path)
    assert resolve_ranks(config.train, list_gpus()).ranks == gpus
    assert resolve_copies(config.engine).data_parallel_size == gpus


@pytest.mark.parametrize("name", PROFILES)
def test_without_a_gpu_there_is_one_rank_and_one_copy(tmp_path, name):
    config = profile(name, tmp_path)
    assert resolve_ranks(config.train, ()).ranks == 1
    assert resolve_copies(config.engine).data_parallel_size == 1


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_the_small_profiles_run_on_any_machine(fake_machine, tmp_path, gpus):
    fake_machine(gpus, gpu_gib=8, host_gib=16)
    assert check(profile("demo", tmp_path)) == []


def test_the_papers_job_runs_on_eight_gpus(fake_machine, tmp_path):
    fake_machine(8)
    assert check(profile("qwen3-8b", tmp_path)) == []
    assert check(profile("llama3.1-8b", tmp_path)) == []


@pytest.mark.parametrize("gpus", [1, 2])
def test_the_papers_job_is_refused_on_fewer_gpus_with_what_would_help(fake_machine, tmp_path, gpus):
    fake_machine(gpus)
    config = profile("qwen3-8b", tmp_path)
    assert check(config, "rollout", "filter", "rectify", "evaluate") == []
    with pytest.raises(
        ConfigError, match=r"stage train cannot run .* needs at least .* a GPU has 80\.00 GiB"
    ):
        check(config)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            {"train": {"ranks": 4}},
            r"stage train .* train\.ranks = 4, but this machine has 2 GPUs .* to auto or to at most 2",
        ),
        ({"engine": {"tensor_parallel_size": 4}}, r"stage rollout .* takes 4 GPUs, but this machine has 2"),
        ({"engine": {"data_parallel_size": 3}}, r"stage rollout .* takes 3 GPUs, but this machine has 2"),
    ],
)
def test_more_gpus_than_there_are_are_refused_by_prepare_and_said_by_the_plan(
    fake_machine, tmp_path, overrides, said
):
    fake_machine(2)
    config = profile("demo", tmp_path, questions={"count": 20}, **overrides)
    with pytest.raises(ConfigError, match=said):
        stages.prepare(Run.create(config, "one"))
    notes = "\n".join(make_plan(config).notes)
    with pytest.raises(ConfigError, match=said):
        raise ConfigError(notes)


def test_what_runs_elsewhere_is_not_checked_here(fake_machine, tmp_path):
    fake_machine(1)
    config = profile("demo", tmp_path, questions={"count": 20}, train={"ranks": 8})
    assert stages.prepare(Run.create(config, "one"), elsewhere=("rollout", "train", "evaluate"))


def test_hidden_gpus_are_not_counted_on(fake_machine, tmp_path, monkeypatch):
    fake_machine(8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with pytest.raises(ConfigError, match=r"train\.ranks = 8, but this machine has 2"):
        check(profile("demo", tmp_path, train={"ranks": 8}))


def test_an_environment_for_gpus_without_one_is_refused(fake_machine, tmp_path):
    fake_machine(0)
    with pytest.raises(ConfigError, match=r"made for GPUs, and none may be used.*DEVICE=cpu"):
        check(profile("demo", tmp_path))


def test_host_memory_that_an_offloaded_optimizer_takes_is_checked(fake_machine, tmp_path):
    fake_machine(8, host_gib=64)
    config = profile("qwen3-8b", tmp_path, train={"cpu_offload": True})
    with pytest.raises(
        ConfigError, match=r"8 ranks on a machine, but .* 64\.00 GiB free for the host memory"
    ):
        check(config, "train")
    fake_machine(8, host_gib=160)
    assert check(config, "train") == []


def test_an_8b_model_on_a_laptop_is_refused_by_its_weights(monkeypatch, tmp_path, fake_machine):
    fake_machine(0, host_gib=16, environment_for_gpus=False)
    with pytest.raises(ConfigError, match=r"stage rollout .* GiB"):
        check(profile("qwen3-8b", tmp_path))


def test_a_plan_for_another_machine_shows_memory_by_number_of_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    memory = make_plan(profile("qwen3-8b", tmp_path)).memory.splitlines()
    assert [line.split(":")[0] for line in memory] == ["1 GPU", "2 GPUs", "4 GPUs", "8 GPUs"]


def test_a_teacher_of_ones_own_is_checked_too(fake_machine, tmp_path):
    fake_machine(1, gpu_gib=24)
    numbers = profile("qwen3-8b", tmp_path).model.architecture | {"hidden_size": 16384}
    teacher = {"kind": "vllm", "model": {"path": "some/teacher", "architecture": numbers}}
    with pytest.raises(ConfigError, match=r"stage rectify .* GiB of each GPU"):
        check(profile("demo", tmp_path, rectify={"oracle": teacher}))
