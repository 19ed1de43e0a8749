import pytest

from spot_core.config.engine import EngineConfig, answer_settings
from spot_core.config.spot import SpotConfig
from spot_core.devices import Gpu
from spot_core.errors import ConfigError
from spot_core.geometry import config_from_numbers
from spot_core.inference.capacity import check_engine, resolve_copies
from spot_core.inference.server import server_command

GIB = 2**30
H100 = Gpu("H100", 80 * GIB, 9.0)
QWEN3_8B = SpotConfig.from_profile("qwen3-8b").model.architecture


@pytest.mark.parametrize(
    ("gpus", "tensor_parallel", "copies"), [(0, 1, 1), (1, 1, 1), (2, 1, 2), (8, 1, 8), (8, 2, 4), (8, 3, 2)]
)
def test_the_copies_take_all_gpus(gpus, tensor_parallel, copies):
    engine = resolve_copies(EngineConfig(tensor_parallel_size=tensor_parallel), (H100,) * gpus)
    assert engine.data_parallel_size == copies


def test_of_a_server_that_exists_one_copy_is_assumed_unless_told():
    url = "http://127.0.0.1:8000/v1"
    assert resolve_copies(EngineConfig(base_url=url), (H100,) * 8).data_parallel_size == 1
    assert resolve_copies(EngineConfig(base_url=url, data_parallel_size=4), ()).data_parallel_size == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"tensor_parallel_size": 4},
            "tensor_parallel_size = 4 takes 4 GPUs, but this machine has 2 .*lower it to at most 2",
        ),
        (
            {"data_parallel_size": 8},
            "data_parallel_size = 8 takes 8 GPUs, .*set engine.data_parallel_size to auto",
        ),
    ],
)
def test_more_gpus_than_there_are_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        resolve_copies(EngineConfig(**settings), (H100, H100))


def check(gpus=(H100,), host_gib=64, numbers=QWEN3_8B, **settings):
    check_engine(config_from_numbers(numbers), EngineConfig(**settings), gpus=gpus, host_bytes=host_gib * GIB)


def test_an_8b_model_fits_where_it_does():
    check(gpus=(H100,))
    check(gpus=(Gpu("RTX 4090", 24 * GIB, 8.9),))  # 15.3 GiB of weights, 5.6 of keys and values
    check(gpus=(Gpu("T4", 15 * GIB, 7.5),) * 2, tensor_parallel_size=2)
    check(gpus=(Gpu("unified", None, 12.1),))
    check(gpus=(), host_gib=24, cpu_kvcache_gib=6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"gpus": (Gpu("T4", 15 * GIB, 7.5),)},
            r"at least 20\.9 GiB of each GPU \(15\.3 for weights, 5\.6 for one request of .* = 40960\).* 13\.5 GiB of T4",
        ),
        ({"gpus": (), "host_gib": 12, "cpu_kvcache_gib": 6}, r"21\.3 GiB .* 12\.0 GiB free and no GPU"),
        (
            {"gpus": (), "cpu_kvcache_gib": 5},
            r"takes 5\.62 GiB of keys and values, but engine.cpu_kvcache_gib = 5",
        ),
        ({"gpus": (H100,) * 3, "tensor_parallel_size": 3}, "does not divide the 32 attention heads"),
        ({"gpus": (), "cpu_kvcache_gib": 6, "batch_invariant": True}, "vLLM has it on GPUs alone"),
        ({"gpus": (Gpu("A100", 80 * GIB, 8.0),), "batch_invariant": True}, "A100 has 8.0"),
    ],
)
def test_what_cannot_run_is_refused_with_numbers(settings, said):
    with pytest.raises(ConfigError, match=said):
        check(**settings)


def test_what_is_not_known_is_not_refused():
    small = (Gpu("T4", 15 * GIB, 7.5),)
    check(gpus=small, numbers={"model_type": "mamba"})
    check(gpus=small, numbers=QWEN3_8B | {"quantization_config": {"quant_method": "awq"}})
    check(gpus=small, extra_args=("--quantization=fp8",))


def test_windows_bound_what_a_long_request_keeps():
    gemma = QWEN3_8B | {
        "use_sliding_window": True,
        "sliding_window": 1024,
        "layer_types": ["sliding_attention"] * 30 + ["full_attention"] * 6,
    }
    check(gpus=(), cpu_kvcache_gib=2, numbers=gemma)
    with pytest.raises(ConfigError, match=r"takes 1\.05 GiB"):
        check(gpus=(), cpu_kvcache_gib=1, numbers=gemma)


def test_batch_invariance_is_in_the_key_only_where_it_is_on():
    assert set(answer_settings(EngineConfig())) == {"dtype", "max_model_len", "extra_args"}
    assert answer_settings(EngineConfig(batch_invariant=True))["batch_invariant"] is True


def test_with_a_gpu_the_server_is_started_by_its_own_command(fake_machine, tmp_path):
    fake_machine(8)
    command = server_command(tmp_path, resolve_copies(EngineConfig(tensor_parallel_size=2)), 1234, False)
    assert command[1:5] == ["-m", "vllm.entrypoints.cli.main", "serve", str(tmp_path)]
    assert command[command.index("--data-parallel-size") + 1] == "4"
    assert "--gpu-memory-utilization" in command and "--enforce-eager" not in command
    assert "--no-enable-chunked-prefill" not in command


def test_on_a_cpu_no_argument_brings_back_prompts_in_pieces(tmp_path):
    engine = EngineConfig(data_parallel_size=1, extra_args=("--enable-chunked-prefill",))
    assert server_command(tmp_path, engine, 1234, False)[-2:] == [
        "--enable-chunked-prefill",
        "--no-enable-chunked-prefill",
    ]
