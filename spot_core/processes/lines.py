"""What the lines of an engine's log are worth to a person who reads the run."""

import logging
import re

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
