"""What training ranks say when they fail, and what to do about it. Texts of torch 2.13 and DeepSpeed 0.19."""

from spot_core.processes.diagnosis import Symptoms, symptom

TRAINING = Symptoms(
    own=(
        symptom(
            "port",
            r"address already in use|EADDRINUSE|The server socket has failed to (?:bind|listen)",
            "a port that the ranks meet at is in use by another process. A retry takes another",
        ),
        symptom(
            "network",
            r"connectFullMesh|Connection closed by peer|Connection reset by peer|gloo.*(?:timed? ?out|refused)|"
            r"NCCL error|ncclSystemError|ncclInternalError|ncclRemoteError|Watchdog caught collective operation timeout|"
            r"DistNetworkError|DistStoreError",
            "ranks lost each other: one ended first (its own lines say why), or the network between them does not work "
            "(GLOO_SOCKET_IFNAME, NCCL_SOCKET_IFNAME and NCCL_DEBUG=INFO help)",
            is_effect=True,
        ),
        symptom(
            "remote-code",
            r"trust_remote_code=True",
            "the model comes with code of its own. If you trust its source: model.trust_remote_code=true",
        ),
        symptom(
            "architecture",
            r"model type [`'\"]?(?P<kind>[\w.-]+)[`'\"]? but Transformers does not recognize|"
            r"Unrecognized configuration class",
            "this transformers does not know the model's architecture ({kind}). Choose another model, or update it",
        ),
        symptom(
            "weights",
            r"SafetensorError: (?!Error while serializing)|Error while deserializing header|no file named .*model\.safetensors",
            "the model's weights are missing or damaged. Fetch the model again (model.path)",
        ),
        symptom(
            "attention",
            r"^(?:\[\w+\]:\s*)*[\w.]*(?:FailOnRecompileLimitHit|NoTritonConfigsError|OutOfResources|InductorError): ",
            "FlexAttention could not be compiled for a row of this model, after it could for rows like it. Set "
            "train.rows=plain; a retry then goes on from the last checkpoint",
        ),
        symptom(
            "compiler",
            r"Error building extension|ninja: build stopped|\bg\+\+.*not found|CUDA_HOME does not exist",
            "DeepSpeed could not compile one of its parts. It needs a C++ compiler (apt-get install build-essential), on "
            "a GPU the CUDA toolkit too",
        ),
    ),
    gpu_memory="Lower train.micro_batch_tokens or train.context_length, set train.gradient_checkpointing=full, "
    "train.zero_stage=3 or train.cpu_offload=true, take more train.ranks, or train.lora",
    host_memory="Free memory on the host, lower train.ranks or train.micro_batch_tokens, or set train.cpu_offload=false",
)
