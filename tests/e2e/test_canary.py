"""What looks for secrets finds them: in compressed tables, in long values of a database, in JSON."""

import json
import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.e2e.canary import shown, shown_in_files

SECRETS = {
    "table": "canary/table-0123",
    "database": "canary+database=0123",
    "document": 'canary"document-0123',
}


def test_a_secret_is_found_in_every_kind_of_file_and_spelling(tmp_path: Path):
    rows = pa.table({"reply": ["x" * 99, SECRETS["table"]] * 50})
    pq.write_table(rows, tmp_path / "a.parquet", compression="zstd")
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE log (line TEXT)")
        database.execute("INSERT INTO log VALUES (?)", ["y" * 4_080 + SECRETS["database"]])
    database.close()
    (tmp_path / "a.json").write_text(json.dumps({"key": SECRETS["document"]}))
    found = dict(line.rsplit("/", 1)[1].split(": ") for line in shown_in_files([tmp_path], SECRETS))
    assert found == {"a.parquet": "table", "a.db": "database", "a.json": "document"}
    assert shown("?key=canary%2Ftable-0123", SECRETS) == ["table"]
    assert shown("nothing", SECRETS) == []
