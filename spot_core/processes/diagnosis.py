"""Says in a plain sentence why a process failed: cause and remedy, from its exit status and the lines of its log.

Who starts a process has a table of symptoms for it; those that any process can show are here. The first symptom in the
log is the cause: what follows are often its effects, which name other things.
"""

import logging
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from spot_core.processes.secrets import redacted

MOST_CHARACTERS = 1_000
"""Of one line; the file has all of it."""
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_PROGRESS_BAR = re.compile(r"\d+%(?: Completed )?\s*\|.{0,200}[\d:?]+<[\d:?]+,|\d+it \[[\d:]+,")  # tqdm
_ACCESS = re.compile(r'"(?:GET|POST|HEAD|PUT|DELETE|OPTIONS) \S+ HTTP/[\d.]+" \d{3}')
_ROUTE = re.compile(r"\] Route: /\S*, Methods: ")  # vLLM lists all it serves
_TEARDOWN = re.compile(r"nanobind: |\s*- leaked \w+ |\s*- \.\.\. skipped remainder|.*\bresource_tracker\b")
"""What Python's bindings and its resource tracker say when a process ends early."""
_FRAME = re.compile(r"[\s*=~^_-]*")  # rulers of banners, the carets of tracebacks
# "(EngineCore_DP0 pid=12) " of vLLM, "[rank0]: " of torchrun, times
_WHO = r"(?:\([^)]*\)\s+|\[[\w.:-]+\]:?\s+|\d{4}-\d\d-\d\d[ T][\d:,.]+\s+)*"
# "(Worker pid=12) ERROR 11-30 03:52:22 [multiproc_executor.py:1063] " of vLLM, before what keeps its indentation
_PREFIX = re.compile(
    r"(?P<who>(?:\([^)]*\) |\[[\w.:-]+\]:? )*)(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]+\] |\d{4}-\d\d-\d\d [\d:,.]+ )?(?P<text>.*)"
)
_ERROR = re.compile(
    _WHO
    + r"(?:\[?(?:ERROR|CRITICAL|FATAL)\b|E\d{4} |Traceback \(most recent|[\w.]*(?:Error|Exception)\b(?::|$))"
)
_WARNING = re.compile(_WHO + r"(?:\[?WARN(?:ING)?\b|\[?W\d{4}[ \]]|.{0,200}?\b\w*Warning: )")


def clean(raw: bytes | str) -> str:
    """One line as a terminal would show it in the end: without colours, controls, and what a progress bar wrote over.

    Also without secrets, and without the invisible characters that turn the direction of writing: an engine may print
    what a model wrote.
    """
    text = raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw
    text = _ESCAPE.sub("", text).rstrip("\r\n").rpartition("\r")[2].expandtabs(4)
    text = redacted("".join(character for character in text if character.isprintable())).rstrip()
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " …"


def is_noise(line: str) -> bool:
    """True for a clean line that says nothing: empty, a ruler, a progress bar, an access log, a route of a server, what
    was left behind at the end."""
    said = (_PROGRESS_BAR, _ACCESS, _ROUTE)
    return bool(_FRAME.fullmatch(line) or _TEARDOWN.match(line)) or any(
        pattern.search(line) for pattern in said
    )


def split_prefix(line: str) -> tuple[str, str]:
    """Returns which process wrote a clean line, as its log marks it, and the text behind marks, level and time."""
    found = _PREFIX.fullmatch(line)
    assert found is not None, "any line has a text"
    return found["who"], found["text"]


def severity(line: str) -> int:
    """Level (of `logging`) of a clean line, as far as its beginning tells."""
    if _ERROR.match(line):
        return logging.ERROR
    return logging.WARNING if _WARNING.match(line) else logging.INFO


_HARMLESS = re.compile(r"(?:\([^)]*\)\s+|\[[\w.:-]+\]:?\s+)*(?:INFO|DEBUG)\b")
_TRACEBACK = "Traceback (most recent call last)"
_MOST_QUOTED = 200  # characters of a group
_MOST_OF_A_LINE = 300


@dataclass(frozen=True)
class Symptom:
    """What a log says, and what that means."""

    name: str
    pattern: re.Pattern[str]
    """Searched in single lines."""
    said: str
    """Cause and remedy; ``{name}`` stands for a named group of the pattern."""
    is_effect: bool = False
    """It tells that another process is gone rather than why: it counts if nothing else is found."""
    is_setting: bool = False
    """A setting or a file is wrong: starting again cannot help."""


@dataclass(frozen=True)
class Finding:
    """Why a process failed."""

    name: str
    """Of the symptom."""
    said: str
    """Cause and remedy."""
    line: str = ""
    """Where the log says so."""
    is_setting: bool = False
    """See `Symptom`."""


def symptom(
    name: str, pattern: str, said: str, *, is_effect: bool = False, is_setting: bool = False
) -> Symptom:
    """A symptom whose pattern ignores case."""
    return Symptom(name, re.compile(pattern, re.IGNORECASE), said, is_effect, is_setting)


EVERYWHERE = (
    symptom(
        "disk-full",
        r"No space left on device|StorageFull|Disk quota exceeded|PytorchStreamWriter failed writing file",
        "the disk is full. Free space where the store, the log or /tmp is; what was finished is kept, and a retry goes on",
    ),
    symptom(
        "read-only",
        r"Read-only file system",
        "a file system it writes to is read-only. Look at the store's and /tmp's; what was finished is kept, and a retry "
        "goes on",
    ),
    symptom(
        "shared-memory",
        r"Bus error|SIGBUS|unable to (?:open|allocate|mmap) shared memory|/dev/shm|insufficient shared memory",
        "shared memory is used up. Give /dev/shm more room (docker run --shm-size=16g, or --ipc=host)",
    ),
    symptom(
        "driver",
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|forward compatibility was attempted",
        "the NVIDIA driver is too old for this CUDA. Update the driver (nvidia-smi shows it), or install a torch that is "
        "built for the older one",
    ),
    symptom(
        "no-gpu",
        r"No CUDA GPUs are available|Found no NVIDIA driver|Torch not compiled with CUDA enabled|no CUDA-capable device|"
        r"Failed to infer device type|libcuda\.so\.1: cannot open|CUDA error: invalid device ordinal",
        "CUDA or the GPU was not found. Look at nvidia-smi and CUDA_VISIBLE_DEVICES, and whether the environment is made "
        "for this machine: make setup DEVICE=gpu, or DEVICE=cpu where there is none",
    ),
    symptom(
        "limit",
        r"Too many open files|can't start new thread|Resource temporarily unavailable",
        "a limit of the operating system is reached (files, threads or processes). Raise it: ulimit -n 65536; ulimit -u "
        "unlimited; in a container the pids limit",
    ),
)
"""Symptoms that do not hang on what was started."""

_GPU_MEMORY = (
    r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError|CUDNN_STATUS_ALLOC_FAILED|"
    r"CUBLAS_STATUS_ALLOC_FAILED"
)
_HOST_MEMORY = (
    r"can't allocate memory|Cannot allocate memory|\bMemoryError\b|std::bad_alloc|failed to map segment from shared "
    r"object"
)
_KILLED = r"Signal 9 \(SIGKILL\)|exitcode\s*: -9\b|Failed core proc\(s\):.*: -9\b"
"""What parents say of a child that SIGKILL ended."""

_SIGNALS = {
    signal.SIGKILL: "it was killed (SIGKILL), as the out-of-memory killer does when the host's memory is used up "
    "(dmesg tells), and as a person can. {memory}",
    signal.SIGBUS: "it ended with a bus error, as when /dev/shm or the disk is full. Give /dev/shm more room "
    "(docker run --shm-size=16g), and look at df",
    signal.SIGILL: "it met an instruction that this processor lacks: install packages that are built for it",
    signal.SIGSEGV: "it crashed (SIGSEGV) in compiled code; the packages of the environment may not match: make setup",
    signal.SIGABRT: "compiled code gave up (SIGABRT); the end of the log may say why",
}


@dataclass(frozen=True)
class Symptoms:
    """All that is known of how one kind of process fails."""

    own: tuple[Symptom, ...]
    """Its own symptoms; within a line those that stand first win."""
    gpu_memory: str
    """What to do when a GPU's memory is used up."""
    host_memory: str
    """What to do when the host's is."""

    @cached_property
    def every(self) -> tuple[Symptom, ...]:
        """Its own symptoms, then those of any process."""
        memory = (
            symptom("gpu-memory", _GPU_MEMORY, f"out of GPU memory. {self.gpu_memory}"),
            symptom("host-memory", _HOST_MEMORY, f"out of memory on the host. {self.host_memory}"),
            symptom("killed", _KILLED, _SIGNALS[signal.SIGKILL].format(memory=self.host_memory)),
        )
        return (*self.own, *EVERYWHERE, *memory)


def diagnose(status: int | None, lines: Sequence[str], symptoms: Symptoms) -> Finding | None:
    """Why a process failed, if its clean log lines or its exit status (128 + N after signal N) tell."""
    effect: Finding | None = None
    for line in lines:
        if _HARMLESS.match(line) or severity(line) == logging.WARNING:
            continue
        for one in symptoms.every:
            if found := one.pattern.search(line):
                groups = {name: (text or "")[:_MOST_QUOTED] for name, text in found.groupdict().items()}
                finding = Finding(
                    one.name, one.said.format(**groups), line[:_MOST_OF_A_LINE].strip(), one.is_setting
                )
                if not one.is_effect:
                    return finding
                effect = effect or finding
    return _by_signal(status, symptoms.host_memory) or effect


def find_first_error(lines: Sequence[str]) -> str:
    """Returns the exception at the end of the first traceback in clean log lines, or else the first line of an error.

    An empty string if there is neither. What stands at the end of a log is often only what the end itself caused.
    """
    first, process = "", None
    for line in lines:
        if severity(line) == logging.WARNING:
            continue
        who, text = split_prefix(line)
        if process is None and text.startswith(_TRACEBACK):
            process = who
        elif process is not None and who == process and text and not text[0].isspace():
            return text[:_MOST_OF_A_LINE]
        elif not first and severity(line) == logging.ERROR:
            first = text[:_MOST_OF_A_LINE]
    return first


def _by_signal(status: int | None, memory: str) -> Finding | None:
    number = 0 if status is None else status - 128
    if number not in _SIGNALS:
        return None
    ended_by = signal.Signals(number)
    return Finding(ended_by.name, _SIGNALS[ended_by].format(memory=memory))
