"""The command of vLLM's GPU build takes the command line of every profile. That build is needed, a GPU is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from spot_core.config.profiles import load_profile, profile_names
from spot_core.config.spot import SpotConfig
from spot_core.demo import STUDENT_PATH
from spot_core.devices import find_distribution
from spot_core.inference import server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_distribution("vllm") is None,
        reason="the GPU build of vLLM is not installed: make setup DEVICE=gpu",
    ),
]
PROGRAM = Path(__file__).with_name("vllm_on_cuda.py")  # not imported: it takes the GPU build
PORT = 8123
SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
"""What the config.json of SmolLM2-135M says."""
CLASSES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}


def model_of(profile, config, folder):
    """A folder whose config.json has the profile's geometry; vLLM reads nothing else before it loads weights."""
    if profile == "demo":
        return STUDENT_PATH
    architecture = config.model.architecture or SMOLLM2
    described = {
        "architectures": [CLASSES[architecture["model_type"]]],
        "max_position_embeddings": 40960,
    } | architecture
    (folder / profile).mkdir()
    (folder / profile / "config.json").write_text(json.dumps(described))
    return folder / profile


def answers_of_vllm(commands):
    """What vLLM's own command makes of the command lines, on a platform with eight GPUs."""
    assert all(command[:3] == [sys.executable, "-m", "vllm.entrypoints.cli.main"] for command in commands)
    done = subprocess.run(
        [sys.executable, PROGRAM],
        input=json.dumps([command[3:] for command in commands]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_of_vllm_takes_the_command_line_of_every_profile_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "has_gpu", lambda: True)
    asked = []
    for profile in profile_names():
        config = SpotConfig.model_validate(load_profile(profile))
        model = model_of(profile, config, tmp_path)
        shards = 2 if config.model.architecture else 3  # what the heads can be divided by
        for changed in (
            {"data_parallel_size": 1},
            {"data_parallel_size": 8},
            {"data_parallel_size": 2, "tensor_parallel_size": shards},
            {"data_parallel_size": 4, "extra_args": ("--max-num-seqs", "77", "--api-server-count", "3")},
        ):
            asked.append((model, config.engine.model_copy(update=changed), len(asked) % 2 == 0))
    engine = asked[0][1]
    wrong = [
        (STUDENT_PATH, engine.model_copy(update=changed), False)
        for changed in (
            {"extra_args": ("--no-such-option",)},
            {"tensor_parallel_size": 2},
        )  # it has three heads
    ]
    answers = answers_of_vllm(
        [server.server_command(model, engine, PORT, trusted) for model, engine, trusted in asked + wrong]
    )
    refused = [answers.pop() for _ in wrong]
    assert all("refused" in answer for answer in refused)  # so that what follows can fail
    for (model, engine, trusted), answer in zip(asked, answers, strict=True):
        dtype = engine.dtype if engine.dtype != "auto" else answer["dtype"]
        assert answer == answer | {
            "model": str(model),
            "served": [server.SERVED_NAME],
            "address": ["127.0.0.1", PORT],
            "dtype": dtype,
            "max_model_len": engine.max_model_len,
            "generation_config": "vllm",
            "trust_remote_code": trusted,
            "tensor_parallel_size": engine.tensor_parallel_size,
            "data_parallel_size": engine.data_parallel_size,
            "gpu_memory_utilization": engine.gpu_memory_utilization,
            "enforce_eager": False,
        }
        if engine.extra_args:
            assert (answer["max_num_seqs"], answer["api_server_count"]) == (77, 3)
        else:
            assert (
                answer["max_num_seqs"] >= engine.concurrency
            )  # requests of one copy do not wait in its queue
