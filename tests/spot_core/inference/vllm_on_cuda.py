"""What the GPU build of vLLM makes of command lines, on a machine without a GPU.

Reads a JSON list of argument lists from stdin, each as after `vllm`, and writes one JSON list of answers to stdout:
what vLLM's command would start its server with, or why it refuses. Its platform is set to one with eight GPUs by hand.
"""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def stand_in_for_the_driver():
    """Loads an empty library under the name of the driver's, so that vLLM's kernels can be imported; none is called."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "libcuda.so.1"
        linker = ["c++", "-shared", f"-Wl,-soname,{library.name}", "-o", library, "-x", "c", os.devnull]
        subprocess.run(linker, check=True)
        ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
    sys.setdlopenflags(os.RTLD_LAZY)


try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    stand_in_for_the_driver()

from vllm import platforms  # noqa: E402
from vllm.platforms.cuda import NonNvmlCudaPlatform  # noqa: E402
from vllm.platforms.interface import DeviceCapability  # noqa: E402


class EightH200(NonNvmlCudaPlatform):
    """A platform that asks no driver."""

    @classmethod
    def get_device_capability(cls, device_id=0):
        return DeviceCapability(9, 0)

    @classmethod
    def get_device_name(cls, device_id=0):
        return "NVIDIA H200"

    @classmethod
    def get_device_total_memory(cls, device_id=0):
        return 141 * 2**30

    @classmethod
    def num_compute_units(cls, device_id=0):
        return 132

    @classmethod
    def device_count(cls):
        return 8


platforms._current_platform = EightH200()  # before anything else of vLLM looks at it

from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: E402
from vllm.entrypoints.cli import main as cli  # noqa: E402
from vllm.entrypoints.cli.serve import ServeSubcommand  # noqa: E402
from vllm.usage.usage_lib import UsageContext  # noqa: E402


def read(arguments: list[str]) -> dict:
    """Takes the way of `vllm` up to where its server starts, and makes the engine's configuration."""
    parsed = []
    ServeSubcommand.cmd = staticmethod(parsed.append)
    sys.argv = ["vllm", *arguments]
    try:
        cli.main()
        [options] = parsed
        options.model = options.model_tag or options.model
        config = AsyncEngineArgs.from_cli_args(options).create_engine_config(UsageContext.OPENAI_API_SERVER)
    except (SystemExit, ValueError) as error:
        return {"refused": str(error)}
    return {
        "model": config.model_config.model,
        "served": options.served_model_name,
        "address": [options.host, options.port],
        "api_server_count": options.api_server_count,
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "max_model_len": config.model_config.max_model_len,
        "generation_config": config.model_config.generation_config,
        "trust_remote_code": config.model_config.trust_remote_code,
        "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
        "data_parallel_size": config.parallel_config.data_parallel_size,
        "gpu_memory_utilization": config.cache_config.gpu_memory_utilization,
        "max_num_seqs": config.scheduler_config.max_num_seqs,
        "enforce_eager": config.model_config.enforce_eager,
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        answers = [read(arguments) for arguments in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
