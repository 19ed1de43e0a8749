"""What is passed on of a log can be read, is no noise, and holds nothing hostile or secret."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.processes.lines import MOST_CHARACTERS, clean, is_noise, severity

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
