"""What is passed on of a log can be read, is no noise, and holds nothing hostile or secret.

What a log means is told from its first cause. The logs in `logs/` are of real failures, cut to what matters here.
"""

import logging
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.inference.symptoms import VLLM
from spot_core.processes.diagnosis import (
    MOST_CHARACTERS,
    Finding,
    clean,
    diagnose,
    find_first_error,
    is_noise,
    severity,
)
from spot_core.processes.supervised import SupervisedProcess
from spot_core.training.symptoms import TRAINING
from tests.e2e.conftest import eventually

KEY = "sk-0123456789abcdefABCDEF"


@given(st.binary(max_size=3000))
def test_a_clean_line_is_one_short_line_without_controls(raw: bytes) -> None:
    line = clean(raw)
    assert line.isprintable()
    assert len(line) <= MOST_CHARACTERS + 2
    assert line == clean(line)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[0;36m(APIServer pid=7)\x1b[0;0m INFO ready\r\n", "(APIServer pid=7) INFO ready"),
        (b"Loading:   0%\rLoading: done\n", "Loading: done"),
        (b"title \x1b]0;you are root\x07set", "title set"),
        ("name\u202egnp.exe \u200bzero".encode(), "namegnp.exe zero"),
        (b"\x08\x08\x00bell\x07 a\tb", "bell a  b"),
        (b"caf\xe9", "caf\ufffd"),
    ],
)
def test_what_a_terminal_would_obey_is_gone(raw: bytes, shown: str) -> None:
    assert clean(raw) == shown


@pytest.mark.parametrize(
    "text",
    [
        f"using key {KEY}",
        "Authorization: Bearer abc.def-123456",
        "postgresql://spot:hunter22@db/prefect",
        "token hf_abcdefghijklmnopqrst",
        "AKIAABCDEFGHIJKLMNOP is the id",
        "from the environment: correct-horse-battery",
    ],
)
def test_secrets_are_hidden(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_SECRET_ACCESS_KEY", "correct-horse-battery")
    line = clean(text)
    assert "[secret]" in line
    for secret in (KEY, "abc.def-123456", "hunter22", "hf_abc", "AKIAABC", "correct-horse"):
        assert secret not in line


@pytest.mark.parametrize(
    "line",
    [
        "",
        "*****************************************",
        "    ~~~~~~^^^^^^^",
        "Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 93.90it/s]",
        "Map:  42%|████▏     | 420/1000 [00:01<00:01, 400.00 examples/s]",
        'INFO:     127.0.0.1:51234 - "GET /health HTTP/1.1" 200 OK',
        "(APIServer pid=7) INFO 11-25 00:07:11 [launcher.py:195] Route: /v1/models, Methods: GET",
    ],
)
def test_noise_is_known(line: str) -> None:
    assert is_noise(line)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("(EngineCore pid=71) ERROR 11-24 22:50:01 [core.py:1] it failed", logging.ERROR),
        ("[rank1]: Traceback (most recent call last):", logging.ERROR),
        ("torch.OutOfMemoryError: CUDA out of memory.", logging.ERROR),
        ("E1124 22:50:01.123 71 torch/distributed/elastic/api.py:9] failed (exitcode: -9)", logging.ERROR),
        ("(APIServer pid=7) WARNING 11-24 22:50:01 [x.py:2] slow", logging.WARNING),
        ("[rank0]:[W1124 22:50:01 init.cpp:3] Warning: odd", logging.WARNING),
        ("/x/y.py:3: FutureWarning: `z` is deprecated", logging.WARNING),
        ("(APIServer pid=7) INFO 11-24 22:50:01 [x.py:2] no ERROR here", logging.INFO),
        ("what a model wrote: ERROR", logging.INFO),
        ("[rank0]: 2026-11-24 22:50:01,123 step 3", logging.INFO),
    ],
)
def test_the_beginning_of_a_line_tells_how_bad_it_is(line: str, level: int) -> None:
    assert not is_noise(line)
    assert severity(line) == level


LOGS = Path(__file__).parent / "logs"
REAL = {
    "vllm-port": ("port", "in use by another process"),
    "vllm-context": (
        "context",
        "engine.max_model_len = 100000 is longer than the model's own limit of 256 tokens",
    ),
    "vllm-hostmem": ("host-memory", "engine.max_model_len"),
    "vllm-badarg": ("argument", "does not know the argument --no-such-option. Look at engine.extra_args"),
    "vllm-arch2": ("architecture", "['NoSuchForCausalLM']"),
    "vllm-nomodel": ("no-model", "there is no such model. Look at model.path"),
    "vllm-remote": ("remote-code", "model.trust_remote_code=true"),
}


def found_in(log: str, symptoms=VLLM, status: int = 1) -> Finding | None:
    return diagnose(status, [clean(line) for line in log.splitlines()], symptoms)


@pytest.mark.parametrize("name", REAL)
def test_a_real_log_is_understood(name: str) -> None:
    symptom, said = REAL[name]
    found = found_in((LOGS / f"{name}.log").read_text(encoding="utf-8"))
    assert found is not None
    assert found.name == symptom
    assert said in found.said


def test_every_real_log_has_an_expectation() -> None:
    assert {path.stem for path in LOGS.glob("*.log")} == REAL.keys()


# Taken from the sources of vLLM 0.32, torch 2.13 and the NVIDIA driver: they need a GPU.
CITED = [
    (TRAINING, "[rank0]: torch._dynamo.exc.FailOnRecompileLimitHit: Hard failure due to fullgraph=True", "train.rows=plain"),
    (TRAINING, "torch._inductor.exc.InductorError: RuntimeError: No valid triton configs.", "train.rows=plain"),
    (VLLM, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "engine.gpu_memory_utilization"),
    (TRAINING, "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "train.micro_batch_tokens"),
    (
        VLLM,
        "ValueError: Free memory on device cuda:0 (11.2/79.1 GiB) on startup is less than desired GPU memory utilization "
        "(0.9, 71.2 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        "only 11.2 of 79.1 GiB of GPU memory are free",
    ),
    (
        VLLM,
        "ValueError: To serve at least one request with the model's max seq len (40960), (5.63 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (1.2 GiB). Based on the available memory, the estimated "
        "maximum model length is 8720.",
        "it takes 5.63 GiB and 1.2 GiB are there",
    ),
    (VLLM, "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`", "no memory is left"),
    (VLLM, "RuntimeError: No CUDA GPUs are available", "CUDA_VISIBLE_DEVICES"),
    (TRAINING, "RuntimeError: Found no NVIDIA driver on your system.", "make setup DEVICE=gpu"),
    (VLLM, "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", "Update the driver"),
    (TRAINING, "RuntimeError: unable to open shared memory object </torch_1> in read-write mode", "/dev/shm"),
    (TRAINING, "OSError: [Errno 28] No space left on device", "the disk is full"),
    (
        TRAINING,
        "SafetensorError: Error while serializing: I/O error: No space left on device (os error 28)",
        "the disk is full",
    ),
    (TRAINING, "RuntimeError: [PytorchStreamWriter failed writing file data/3: file write failed", "the disk is full"),
    (VLLM, "RuntimeError: Engine core initialization failed. Failed core proc(s): {'EngineCore_DP0': -9}", "was killed"),
]  # fmt: skip


@pytest.mark.parametrize(("symptoms", "line", "said"), CITED)
def test_a_cited_message_is_understood(symptoms, line: str, said: str) -> None:
    found = found_in(f"loading\n{line}\nthe end", symptoms)
    assert found is not None
    assert said in found.said
    assert found.line in line


@pytest.mark.parametrize(
    "log",
    [
        "",
        "INFO 11-24 23:03:04 [args.py:1] non-default args: {'trust_remote_code=True'}",
        "(APIServer pid=1) WARNING 11-24 23:03:04 [system_utils.py:255] Found ulimit of 20000: this can cause errors like "
        "`OSError: [Errno 24] Too many open files`",
        "WARNING 11-24 23:03:04 [parallel.py:746] Address already in use. Retrying with a new port.",
        "ValueError: nobody knows this one",
    ],
)
def test_what_is_no_failure_or_unknown_is_not_explained(log: str) -> None:
    assert found_in(log) is None


def test_the_first_cause_wins_over_what_follows_from_it() -> None:
    found = found_in(
        "[rank0]: RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4321\n"
        "[rank1]: OSError: [Errno 28] No space left on device\n"
        "[rank1]: torch.OutOfMemoryError: CUDA out of memory.",
        TRAINING,
    )
    assert found is not None
    assert found.name == "disk-full"


def test_a_lost_connection_counts_only_if_nothing_else_is_known() -> None:
    lost = (
        "[rank0]: RuntimeError: [gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4321"
    )
    killed = "  Signal 9 (SIGKILL) received by PID 71"
    alone, with_cause = found_in(lost, TRAINING), found_in(f"{lost}\n{killed}", TRAINING)
    assert alone is not None and alone.name == "network"
    assert with_cause is not None and with_cause.name == "killed"


@pytest.mark.parametrize(
    ("ended_by", "said"),
    [(signal.SIGKILL, "out-of-memory killer"), (signal.SIGBUS, "/dev/shm"), (signal.SIGILL, "processor")],
)
def test_a_signal_explains_what_the_log_does_not(tmp_path, ended_by: signal.Signals, said: str) -> None:
    """On a real process."""
    command = ["bash", "-c", f"echo working; kill -{ended_by.value} $$"]
    with SupervisedProcess(command, name="it", log_path=tmp_path / "log") as process:
        eventually(lambda: process.poll() is not None, 20, "it ends")
        account = process.account("it ended", VLLM)
    first, *_, last = account.splitlines()
    assert first.startswith("it ended: ") and said in first
    assert last == "working"


def test_a_python_program_that_runs_out_of_memory_is_understood(tmp_path) -> None:
    """On a real process: a limit of address space stands for a host without memory."""
    program = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28)); bytearray(2**30)"
    with SupervisedProcess(["python3", "-c", program], name="it", log_path=tmp_path / "log") as process:
        eventually(lambda: process.poll() is not None, 20, "it ends")
        account = process.account("it ended", TRAINING)
    assert account.startswith(
        "it ended: out of memory on the host. Free memory on the host, lower train.ranks"
    )
    assert "\nIt says: MemoryError\n" in account


def test_a_process_that_filled_the_disk_of_its_own_log_is_understood_though_it_could_not_say_so(
    small_disk,
) -> None:
    command = ["bash", "-c", f"echo begun; cat /dev/zero >{small_disk}/file"]
    with SupervisedProcess(command, name="it", log_path=small_disk / "log") as process:
        eventually(lambda: process.poll() is not None, 20, "it ends")
        account = process.account("it ended", TRAINING)
    assert account.startswith("it ended: the disk")
    assert "full. Free space" in account.splitlines()[0]


CRASH = """\
(APIServer pid=7) INFO 11-30 03:52:21 [loggers.py:310] Engine 000: Running: 32 reqs
(Worker pid=12) WARNING 11-30 03:52:21 [utils.py:40] Traceback (most recent call last):
(Worker pid=12) WARNING 11-30 03:52:21 [utils.py:40] OSError: it goes without this
(Worker pid=12) ERROR 11-30 03:52:22 [multiproc_executor.py:1063] WorkerProc hit an exception.
(Worker pid=12) ERROR 11-30 03:52:22 [multiproc_executor.py:1063] Traceback (most recent call last):
(Worker pid=12) ERROR 11-30 03:52:22 [multiproc_executor.py:1063]   File "gpu_model_runner.py", line 3502, in _bookkeeping_sync
(EngineCore pid=9) INFO 11-30 03:52:22 [core.py:1] another process, in between
(Worker pid=12) ERROR 11-30 03:52:22 [multiproc_executor.py:1063]     gen.set_offset(gen.get_offset() - 4)
(Worker pid=12) ERROR 11-30 03:52:22 [multiproc_executor.py:1063]                    ^^^^^^^^^^^^^^^^
(Worker pid=12) ERROR 11-30 03:52:22 [multiproc_executor.py:1063] RuntimeError: CPU Generator does not use offset
(EngineCore pid=9) ERROR 11-30 03:52:22 [core.py:2] Traceback (most recent call last):
(EngineCore pid=9) ERROR 11-30 03:52:22 [core.py:2] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.
nanobind: leaked 514 functions!
 - leaked function "__init__"
 - leaked instance 0x7f3ef1b4a108 of type "triton._C.libtriton.ir.attribute"
 - ... skipped remainder
"""


@pytest.mark.parametrize(
    ("log", "first"),
    [
        (CRASH, "RuntimeError: CPU Generator does not use offset"),
        (
            "[rank1]: Traceback (most recent call last):\n[rank1]:   File x\n[rank0]: ok\n[rank1]: KeyError: 3\n",
            "KeyError: 3",
        ),
        (
            "INFO starts\nERROR 11-30 03:52:22 [core.py:1] no port\nERROR 11-30 03:52:23 [core.py:1] later\n",
            "no port",
        ),
        (
            "Traceback (most recent call last):\n  File x, cut off here\n",
            "",
        ),
        ("all is well\n", ""),
    ],
)
def test_the_first_error_of_a_log_is_found_among_other_processes(log: str, first: str) -> None:
    assert find_first_error([clean(line) for line in log.splitlines()]) == first


def test_an_unknown_failure_shows_its_first_error_and_no_litter(tmp_path: Path) -> None:
    log = tmp_path / "crash"
    log.write_text(CRASH, encoding="utf-8")
    program = ["bash", "-c", 'cat "$0"; exit 1', str(log)]
    with SupervisedProcess(program, name="vLLM", log_path=tmp_path / "log") as process:
        eventually(lambda: process.poll() is not None, 60, "it ends")
        account = process.account("the vLLM server died while answering", VLLM)
    first, second, *rest = account.splitlines()
    assert first == "the vLLM server died while answering"
    assert second == "It says: RuntimeError: CPU Generator does not use offset"
    assert "EngineDeadError" in rest[-1] and "leaked" not in account
