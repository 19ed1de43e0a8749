"""What was paid for is found again, by whichever process asks; what another process is asking is not asked."""

import os
import signal
import subprocess
import sys

import pytest

from spot_core.errors import ArtifactError
from spot_core.oracles.replies import ReplyJournal


def journal(folder, writer="key-0") -> ReplyJournal:
    return ReplyJournal(folder, writer=writer)


def test_a_reply_is_found_by_later_and_by_present_journals(tmp_path):
    with journal(tmp_path) as first, journal(tmp_path, "other-0") as second:
        assert first.claim("a", by="m", worst=(10, 20))
        first.put("a", {"text": "é\ud800"})
        assert first.get("a") == {"text": "é\ud800"}
        assert second.get("a") is None
        assert not second.claim("a", by="m", worst=(10, 20))
        assert second.get("a") == {"text": "é\ud800"}
    with journal(tmp_path, "third-0") as third:
        assert third.get("a") == {"text": "é\ud800"}
        assert third.get("b") is None


def test_what_another_process_asks_is_left_to_it_until_it_fails_or_is_gone(tmp_path):
    with journal(tmp_path, "other-0") as second:
        with journal(tmp_path) as first:
            assert first.claim("a", by="m", worst=(10, 20))
            assert first.claim("b", by="m", worst=(10, 20))
            assert not second.claim("a", by="m", worst=(10, 20))
            first.failed("a")
            assert second.claim("a", by="m", worst=(10, 20))
            assert not first.claim("a", by="m", worst=(10, 20))
            assert not second.claim("b", by="m", worst=(10, 20))
        assert second.claim("b", by="m", worst=(10, 20))


def test_calls_that_were_lost_with_their_process_are_counted_once_and_free_again(tmp_path):
    code = "import os, sys; from spot_core.oracles.replies import ReplyJournal; from pathlib import Path\n"
    code += "j = ReplyJournal(Path(sys.argv[1]), writer='key-0'); j.claim('a', by='m', worst=(1, 2))\n"
    code += "j.put('a', {'x': 1}); j.claim('b', by='n', worst=(3, 4)); j.claim('c', by='n', worst=(5, 6))\n"
    code += "os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    for _ in range(2):
        with journal(tmp_path) as next_attempt:
            assert dict(next_attempt.lost) == {"n": [(3, 4), (5, 6)]}
            assert dict(next_attempt.own) == {"m": [("a", (1, 2))]}
            assert not next_attempt.claim("a", by="m", worst=(10, 20))
    with journal(tmp_path, "other-0") as other:
        assert not other.lost
        assert not other.own
        assert other.claim("b", by="n", worst=(10, 20))


def test_a_record_that_is_being_written_is_read_once_it_is_whole(tmp_path):
    with journal(tmp_path) as first, journal(tmp_path, "other-0") as second:
        first.claim("a", by="m", worst=(10, 20))
        first.put("a", {"x": 1})
        [path] = tmp_path.glob("key-0-*.jsonl")
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])
        assert second.claim("z", by="m", worst=(10, 20))
        assert second.get("a") is None
        path.write_bytes(whole)
        assert not second.claim("a", by="m", worst=(10, 20))
        assert second.get("a") == {"x": 1}


def test_a_journal_that_was_changed_from_outside_is_named(tmp_path):
    with journal(tmp_path) as first:
        first.claim("a", by="m", worst=(10, 20))
        first.put("a", {"x": 1})
        [path] = tmp_path.glob("*.jsonl")
        os.truncate(path, 10)
        with pytest.raises(ArtifactError, match=path.name):
            first.get("a")
