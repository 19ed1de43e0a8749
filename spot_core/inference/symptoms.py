"""What vLLM's server says when it fails, and what to do about it. Texts of vLLM 0.32, transformers and argparse."""

from spot_core.processes.diagnosis import Symptoms, symptom

PORT = "port"
"""Name of the symptom that another process has the server's port."""

VLLM = Symptoms(
    own=(
        symptom(
            PORT,
            r"address already in use|EADDRINUSE",
            "its port is in use by another process",
        ),
        symptom(
            "argument",
            r"error: unrecognized arguments: (?P<which>.+)",
            "vLLM does not know the argument {which}. Look at engine.extra_args, and at `vllm serve --help`",
            is_setting=True,
        ),
        symptom(
            "argument",
            r"error: argument (?P<which>.+)",
            "vLLM refuses an argument: {which}. Look at engine.extra_args",
            is_setting=True,
        ),
        symptom(
            "context",
            r"User-specified max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len"
            r"[^0-9]*(?:=|is )(?P<most>\d+)",
            "engine.max_model_len = {asked} is longer than the model's own limit of {most} tokens. Lower it, and "
            "rollout.max_new_tokens with it",
            is_setting=True,
        ),
        symptom(
            "cache",
            r"max seq len \((?P<asked>\d+)\), \((?P<needed>[\d.]+) GiB KV cache is needed.*?"
            r"available KV cache memory \((?P<there>[\d.]+) GiB\)",
            "the key-value cache is too small for one request of engine.max_model_len = {asked} tokens: it takes "
            "{needed} GiB and {there} GiB are there. Lower engine.max_model_len, or raise engine.gpu_memory_utilization "
            "(on a CPU engine.cpu_kvcache_gib) or engine.tensor_parallel_size",
            is_setting=True,
        ),
        symptom(
            "cache",
            r"No available memory for the cache blocks",
            "no memory is left for the key-value cache once the model is loaded. Raise engine.gpu_memory_utilization (on "
            "a CPU engine.cpu_kvcache_gib) or engine.tensor_parallel_size, or lower engine.max_model_len",
            is_setting=True,
        ),
        symptom(
            "gpu-memory-taken",
            r"Free memory on device (?:\S+ )?\((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on startup is less than",
            "only {free} of {total} GiB of GPU memory are free. Another process holds the rest (nvidia-smi shows it): end "
            "it, or lower engine.gpu_memory_utilization",
        ),
        symptom(
            "remote-code",
            r"trust_remote_code=True",
            "the model comes with code of its own. If you trust its source: model.trust_remote_code=true",
            is_setting=True,
        ),
        symptom(
            "architecture",
            r"Model architectures? (?P<which>.+?) (?:are|is|was|failed) |"
            r"model type [`'\"]?(?P<kind>[\w.-]+)[`'\"]? but Transformers does not recognize",
            "this vLLM does not know the model's architecture ({which}{kind}). Choose another model, or update vLLM and "
            "transformers",
            is_setting=True,
        ),
        symptom(
            "gated",
            r"gated repo|401 Client Error|403 Client Error|GatedRepoError",
            "the model is gated: ask for access on its page on the Hugging Face Hub, and export HF_TOKEN where the flow "
            "runs",
            is_setting=True,
        ),
        symptom(
            "weights",
            r"Cannot find any model weights with|SafetensorError: (?!Error while serializing)|Error while deserializing header|"
            r"Unable to load weights|checkpoint is corrupt",
            "the model's weights are missing or damaged. Fetch the model again (model.path), or make the checkpoint anew",
            is_setting=True,
        ),
        symptom(
            "no-model",
            r"Repo id must|is not a local folder|Repository Not Found|does not appear to have a file named config\.json|"
            r"LocalEntryNotFoundError|Invalid repository ID or local directory|couldn't connect to 'https://huggingface",
            "there is no such model. Look at model.path: a folder with config.json and *.safetensors, or a name on the "
            "Hugging Face Hub",
            is_setting=True,
        ),
        symptom(
            "parallel",
            r"World size \((?P<world>\d+)\) is larger than the number of available GPUs|"
            r"(?:must be|is not) divisible by tensor parallel size",
            "the GPUs or the model's attention heads cannot be shared so. Change engine.tensor_parallel_size",
            is_setting=True,
        ),
        symptom(
            "network",
            r"NCCL error|ncclSystemError|ncclInternalError|ncclUnhandledCudaError|ncclRemoteError",
            "the GPUs cannot talk to each other (NCCL). Set NCCL_DEBUG=INFO for the reason; engine.tensor_parallel_size=1 "
            "needs no such talk",
            is_effect=True,
        ),
    ),
    gpu_memory="Lower engine.gpu_memory_utilization, engine.max_model_len or engine.concurrency, or raise "
    "engine.tensor_parallel_size",
    host_memory="Free memory on the host, lower engine.cpu_kvcache_gib (without a GPU) or engine.max_model_len, or take a "
    "smaller model",
)
