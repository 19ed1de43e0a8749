"""The journal keeps every whole record through a crash."""

import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_core.store.journal import Journal, read_journal

RECORDS = [{"n": n, "text": "é\n\x00\ud800" * n} for n in range(5)]


def test_records_come_back_as_they_were(tmp_path):
    with Journal(tmp_path / "j.jsonl") as journal:
        for record in RECORDS:
            journal.append(record)
    assert list(read_journal(tmp_path / "j.jsonl")) == RECORDS


@given(cut=st.integers(min_value=0))
def test_a_file_cut_anywhere_loses_at_most_the_last_record(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("journal") / "j.jsonl"
    with Journal(path) as journal:
        for record in RECORDS:
            journal.append(record)
    content = path.read_bytes()
    cut %= len(content)
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    with Journal(path) as journal:
        assert list(journal) == RECORDS[:whole]
        journal.append({"after": "the crash"})
    assert list(read_journal(path)) == [*RECORDS[:whole], {"after": "the crash"}]


def test_a_flipped_bit_ends_the_journal_there(tmp_path):
    path = tmp_path / "j.jsonl"
    with Journal(path) as journal:
        for record in RECORDS:
            journal.append(record)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:-5] + bytes([lines[2][-5] ^ 1]) + lines[2][-4:]
    path.write_bytes(b"".join(lines))
    assert list(read_journal(path)) == RECORDS[:2]


def test_kill_9_keeps_what_append_returned_for(tmp_path):
    program = (
        "import sys, itertools\nfrom pathlib import Path\nfrom spot_core.store.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for n in itertools.count():\n    journal.append({'n': n})\n    print(n, flush=True)\n"
    )
    path = tmp_path / "j.jsonl"
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    deadline = time.monotonic() + 30
    while (not path.exists() or path.stat().st_size < 5000) and time.monotonic() < deadline:
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    told = [int(line) for line in writer.stdout.read().splitlines() if line.strip().isdigit()]
    writer.wait()
    kept = [record["n"] for record in read_journal(path)]
    assert kept == list(range(len(kept)))
    assert len(kept) > (told[-1] if told else 0)


def test_a_write_cut_short_is_an_error_that_keeps_earlier_records(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({"n": 0})
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    with pytest.raises(OSError, match="only 8 of 17 bytes"):
        journal.append({"n": 1})
    monkeypatch.setattr(os, "write", real)
    journal.append({"n": 2})
    assert [r["n"] for r in journal] == [0, 2]
